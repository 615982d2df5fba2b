"""Every call of a run to the file system fails once, and for good, and nothing is lost."""

import gc
from itertools import count

import pytest

from batchstack import files
from batchstack.cli import main
from tests.faults.faulty import FAULTS, FaultySystem
from tests.faults.oracle import Oracle

RUN = ("run", "pairs.csv", "--workers", 0, "--align", "off", "--methods", "direct")
# In every run of the suite every other call fails in one of the ways, in turn; in the long form
# each call in all of them.
# A call that is interrupted is made again, by Python or the program: for good it would be for ever.
WAYS = [
    (fault, for_good)
    for fault in FAULTS
    for for_good in (False, True)
    if not (for_good and fault == "EINTR")
]
PARTS = 4
DOCUMENTED = {0, 1, 2, 3}


class Sweep:
    """A run in this process, of which some calls to the file system fail."""

    def __init__(self, workspace, monkeypatch, capfd):
        self.workspace, self.monkeypatch, self.capfd = workspace, monkeypatch, capfd
        monkeypatch.chdir(workspace.root)
        monkeypatch.setattr("batchstack.batch.recorder.SEEN_WITHIN", 0)
        workspace.manifest(
            {
                "pair": workspace.stack("pair", shape=(16, 20)),
                "three": workspace.stack("three", shape=(16, 20), n_frames=3, suffix=".tif"),
            }
        )
        # The oracle's runs are of this process too: a process each would take an hour.
        self.workspace.run = self.run
        self.oracle = Oracle(workspace, RUN)

    def run(self, *arguments, code=0, system=None):
        """As `Workspace.run`, in this process."""
        gc.collect()  # which `main` nearly switches off, as its process does one run only
        with self.monkeypatch.context() as patch:
            patch.setattr("sys.argv", ["batchstack", *map(str, arguments)])
            if system is not None:
                patch.setattr(files.calls, "system", system)
            with pytest.raises(SystemExit) as end:
                main.main()
        done = Done(end.value.code, self.capfd.readouterr().err)
        assert code is None or done.returncode == code, done.stderr
        return done

    def fault(self, number, fault, for_good):
        """One faulty run and what the oracle says; whether the fault was reached."""
        system = FaultySystem(number, fault, for_good=for_good)
        folder = f"out-{number}-{fault.replace(' ', '-')}-{for_good}"
        done = self.run(*RUN, "-o", folder, code=None, system=system)
        assert done.returncode in DOCUMENTED, done.stderr
        assert "unexpected error" not in done.stderr, done.stderr
        self.oracle.judge(folder)
        return system.calls >= number


class Done:
    def __init__(self, returncode, stderr):
        self.returncode, self.stderr = returncode, stderr


@pytest.fixture
def sweep(workspace, monkeypatch, capfd):
    # To look through what stands before the runs would take longer than they do.
    gc.freeze()
    yield Sweep(workspace, monkeypatch, capfd)
    gc.unfreeze()


def all_calls(sweep, ways, first=1, step=1):
    for number in count(first, step):
        reached = [sweep.fault(number, *way) for way in ways(number)]
        if not all(reached):
            return number - 1
    raise AssertionError("a run has an end")


def test_any_call_to_the_file_system_may_fail(sweep):
    calls = all_calls(sweep, lambda number: [WAYS[number % len(WAYS)]], step=2)
    assert calls > 100


# In parts, for as many processes.
@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("part", range(PARTS))
def test_any_call_to_the_file_system_may_fail_in_any_way(sweep, part):
    calls = all_calls(sweep, lambda number: WAYS, first=1 + part, step=PARTS)
    assert calls > 100
