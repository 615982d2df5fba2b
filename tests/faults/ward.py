"""The command in real processes that a test can hold, hurt and look at."""

import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from tests.conftest import Workspace
from tests.faults.oracle import Oracle
from tests.processes import processes_in, wait_for

HOOKS = Path(__file__).parent / "hooks"
# What quiet runs have written, by all that they were given.
_QUIET = {}
OPTIONS = ("--align", "off", "--methods", "direct")


class Ward(Workspace):
    """A workspace whose runs, once they are begun, take `hooks/sitecustomize.py` in.

    Those of the oracle do not.

    Parameters
    ----------
    root : Path
    """

    def __init__(self, root):
        super().__init__(root)
        self.runs = []
        for name in ("reached", "shut", "opened"):
            (root / name).mkdir()
        self.hurt("")
        self.arguments = ("run", "pairs.csv", *OPTIONS)

    def hooks(self, *before):
        """Variables that let a process take the hooks in, and packages that come before all."""
        path = os.pathsep.join(map(str, (*before, HOOKS)))
        return {"PYTHONPATH": path, "BATCHSTACK_WARD": str(self.root)}

    def hurt(self, code, **constants):
        """What goes wrong in processes started from now on.

        Parameters
        ----------
        code : str
            Run at the start of each process, with `after` and `hold` of the hooks.
        constants : dict
            By the module of `batchstack.batch` in which they are used, name to value.
        """
        for module, values in constants.items():
            code += f"\nafter('batchstack.batch.{module}')(lambda m: put(m, {values}))"
        (self.root / "hurt.py").write_text(code)

    def stacks(self, count=6, shape=(60, 80), **options):
        """A manifest of so many pairs, s0 and on, and the oracle that knows their outputs."""
        names = [f"s{number}" for number in range(count)]
        return self.known({name: self.stack(name, shape, **options) for name in names})

    def known(self, stacks, **options):
        """The same of given stacks."""
        self.manifest(stacks, **options)
        return WardOracle(self)

    # --- gates

    def shut(self, *gates):
        """Hold what comes from now on to these gates.

        There is one for each stack, where its tasks begin, by its id; "tile-<id>-<top>-<left>"
        for one tile; "box-" before what is fused at once; "publish-<id>" before an output gets
        its name; "all" for all that begins.
        """
        for gate in gates:
            (self.root / "shut" / gate).touch()
            (self.root / "opened" / gate).unlink(missing_ok=True)

    def pass_by(self, *gates):
        """Let through what comes from now on; what is held stays so."""
        for gate in gates:
            (self.root / "shut" / gate).unlink()

    def open(self, *gates):
        for gate in gates or ("all",):
            (self.root / "opened" / gate).touch()
            (self.root / "shut" / gate).unlink(missing_ok=True)

    def reached(self):
        """The stack that each process has begun last, by process id."""
        stacks = {}
        for gate, pid, _ in sorted(self._reached(), key=lambda mark: mark[2]):
            if not gate.startswith(("written", "publish-", "tile-", "box-")):
                stacks[pid] = gate
        return stacks

    def times(self, gate):
        """How often a gate was reached."""
        return sum(mark[0] == gate for mark in self._reached())

    def held_by(self, gate):
        """Ids of the processes that have reached a gate."""
        return {mark[1] for mark in self._reached() if mark[0] == gate}

    def _reached(self):
        for path in (self.root / "reached").iterdir():
            gate, pid, moment = path.name.rsplit(".", 2)
            yield gate, int(pid), int(moment)

    def forget(self):
        """What was reached until now."""
        for path in (self.root / "reached").iterdir():
            path.unlink()

    def wait_until_held(self, count, run):
        """Process ids of so many that have begun a stack."""
        wait_for(lambda: len(self.reached()) >= count, run, 240)
        return sorted(self.reached())

    def wait_until_reached(self, *gates, run=None):
        wait_for(lambda: all(map(self.times, gates)), run, 240)

    # --- runs

    def begin(self, *arguments, before=(), folder="out"):
        """A run into a folder that goes on while the test does; `before` is what starts it."""
        return self.start(*self.arguments, "-o", folder, *arguments, before=before)

    def start(self, *arguments, before=()):
        """Any command, as `begin` has it."""
        self.runs.append(Run(self, arguments, before))
        return self.runs[-1]

    def hurried(self, *arguments, code, before=(), folder="out"):
        """What a run that is waited for says."""
        return self.begin(*arguments, before=before, folder=folder).end(code)

    def tree(self, folder="."):
        """All files below a folder, with content and time."""
        top = self.root / folder
        return {
            str(path.relative_to(top)): (path.read_bytes(), path.stat().st_mtime_ns)
            for path in sorted(top.rglob("*"))
            if path.is_file() and path.suffix != ".said"
        }

    def close(self):
        """End all that a failed test has left."""
        for process in processes_in(self.root):
            process.kill()
        for run in self.runs:
            run.process.wait(60)


class WardOracle(Oracle):
    """The oracle of a ward, whose own runs are left alone; it knows those that it had before."""

    def __init__(self, ward, *arguments):
        given = (ward.arguments, arguments, (ward.root / "pairs.csv").read_text())
        given += tuple((name, content) for name, (content, _) in ward.tree("frames").items())
        self.workspace = ward
        self.arguments = (*ward.arguments, "--workers", 0, *arguments)
        if given not in _QUIET:
            super().__init__(ward, self.arguments)
            _QUIET[given] = self.expected
            shutil.rmtree(ward.root / self.quiet)
        self.expected = _QUIET[given]

    def judge(self, folder="out", done=None):
        """Judge, and see that so many stacks were recorded before the plain run."""
        recorded = super().judge(folder)
        assert done is None or recorded == done
        return recorded


class Run:
    """A run that goes on, in a session of its own; what it says goes to a file."""

    def __init__(self, ward, arguments, before=()):
        self.ward = ward
        number = len(list(ward.root.glob("*.said")))
        self.file = ward.root / f"{number}.said"
        with self.file.open("wb") as said:
            self.process = subprocess.Popen(
                [*before, *ward.command(*arguments)],
                cwd=ward.root,
                env=ward.environment() | ward.hooks(),
                stdout=said,
                stderr=said,
                start_new_session=True,
            )

    @property
    def said(self):
        return self.file.read_text()

    def poll(self):
        return self.process.poll()

    def communicate(self):
        return self.said, None

    def signal(self, number):
        self.process.send_signal(number)

    def wait_until_said(self, text, seconds=240):
        wait_for(lambda: text in self.said, self, seconds)

    def end(self, code, seconds=240):
        """Wait for the end, see that it is the one documented, and leave no process behind."""
        try:
            found = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            pytest.fail(f"does not end within {seconds} s:\n{self.said}")
        assert found == code, self.said
        assert "Traceback" not in self.said and "unexpected error" not in self.said, self.said
        wait_for(lambda: not processes_in(self.ward.root), seconds=120)
        return self.said


def stop(pid):
    os.kill(pid, signal.SIGSTOP)


def thaw(pid):
    os.kill(pid, signal.SIGCONT)


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def namespace(script, *arguments):
    """What starts a command with mounts of its own that a shell script makes.

    Skips the test where that is not permitted.
    """
    try:
        subprocess.run(["unshare", "--mount", "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("unshare --mount is not permitted here")
    program = f'{script} && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", program, *(arguments or ("sh",)))


def shell(redirection):
    """What starts a command with its streams or limits changed."""
    return ("sh", "-c", redirection, "sh")
