"""What several tests share: files of small stacks, and the program as a process."""

import hashlib
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from hypothesis import settings

from batchstack.batch.manifest import OWN_NAMES
from batchstack.images import read_image, write_image
from tests.scenes import stack

# A machine that is busy may take its time over any example.
# The suite decides whether a change lands, so it draws the same examples every time;
# `--hypothesis-profile explore` draws new ones.
settings.register_profile("suite", deadline=None, derandomize=True)
settings.register_profile("explore", deadline=None)
settings.load_profile("suite")


class Workspace:
    """A folder with frames and manifests, and the command run in it.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root):
        self.root = root

    def stack(self, name, shape=(60, 80), n_frames=2, suffix=".png", **options):
        """Write the frames of a stack; return their paths relative to the folder."""
        paths = []
        for index, frame in enumerate(stack(shape, n_frames, **options)):
            path = self.root / "frames" / f"{name}_{index}{suffix}"
            write_image(path, frame)
            paths.append(str(path.relative_to(self.root)))
        return paths

    def manifest(self, stacks, name="pairs.csv", columns=()):
        """Write a manifest of id to frames, with further columns as (name, values)."""
        path = self.root / name
        header = ",".join(["id", "frames", *(column for column, _ in columns)])
        lines = [
            ",".join([stack_id, "|".join(frames), *(values[i] for _, values in columns)])
            for i, (stack_id, frames) in enumerate(stacks.items())
        ]
        path.write_text("\n".join([header, *lines]) + "\n")
        return path

    def command(self, *arguments):
        return [sys.executable, "-m", "batchstack", *map(str, arguments)]

    def start(self, *arguments):
        """The command as a running process in a session of its own."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def run(self, *arguments, code=0):
        """The finished command; its exit code must be `code`."""
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def environment(self):
        return os.environ | {"PYTHONWARNINGS": "default"}

    def outputs(self, folder):
        """Relative path to bytes of every output below a folder, records left out."""
        top = self.root / folder
        found = {}
        for path in self._outputs(top):
            with suppress(FileNotFoundError):  # a part that got its name since it was listed
                found[str(path.relative_to(top))] = path.read_bytes()
        return found

    def pixels(self, folder):
        """Relative path to digest of the pixels of every output: files also say their options."""
        top = self.root / folder
        found = {str(path.relative_to(top)): read_image(path) for path in self._outputs(top)}
        return {
            name: (pixels.shape, pixels.dtype.name, hashlib.sha256(pixels.tobytes()).hexdigest())
            for name, pixels in found.items()
        }

    def finished(self, folder):
        """How many outputs are there under their own names."""
        return sum(not path.name.startswith(".") for path in self._outputs(self.root / folder))

    def _outputs(self, top):
        return [
            path
            for path in sorted(top.rglob("*"))
            if path.is_file() and ".batchstack" not in path.parts and path.name not in OWN_NAMES
        ]


@pytest.fixture
def workspace(tmp_path):
    return Workspace(tmp_path)
