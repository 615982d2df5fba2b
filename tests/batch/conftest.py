"""What several tests of the batch share: rendered stacks as files."""

from dataclasses import replace

import dask
import pytest

from batchstack.batch.claim import claim
from batchstack.batch.graph import split_graph
from batchstack.batch.tasks import do_stack
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


def do_whole(job):
    """What one task makes of a job, as a run would hand it out."""
    with claim(job.directory) as held:
        return do_stack(replace(job, claim=held))


def do_split(job, shape):
    """The same of the tasks of a split stack."""
    with claim(job.directory) as held:
        job = replace(job, claim=held)
        (result,) = dask.compute(split_graph(job, job.name, shape), scheduler="sync")
        return result
