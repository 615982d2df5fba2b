"""What several tests of the batch share: rendered stacks as files."""

import pytest

from batchstack.images import write_image


@pytest.fixture
def files(workspace):
    """Write the frames of rendered stacks and their manifest."""

    def write(columns=(), suffix=".png", **stacks):
        paths = {}
        for name, rendered in stacks.items():
            paths[name] = [f"frames/{name}{i}{suffix}" for i in range(len(rendered.frames))]
            for path, frame in zip(paths[name], rendered.frames, strict=True):
                write_image(workspace.root / path, frame)
        return workspace.manifest(paths, columns=columns)

    return write
