"""A run that is hurt while its outputs go to one folder for all."""

import os
import signal

import pytest

from tests.faults.ward import Ward, kill

pytestmark = pytest.mark.timeout(900)


@pytest.fixture
def ward(tmp_path):
    ward = Ward(tmp_path)
    ward.arguments += ("--name", "{id}_{output}")
    yield ward
    ward.close()


def parts(ward):
    return sorted(path.name for path in (ward.root / "out").glob(".*.part"))


def test_what_killed_processes_leave_in_a_shared_folder_is_removed_and_nothing_else(ward):
    oracle = ward.stacks(4)
    gates = ("publish-s0", "publish-s1")
    ward.shut(*gates)
    run = ward.begin("--workers", 2)
    ward.wait_until_reached(*gates, run=run)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.end(-signal.SIGKILL)
    assert {name.partition("_")[0] for name in parts(ward)} >= {".s0", ".s1"}
    # Of a stack that this run does not know, and of no output.
    strangers = [
        f".{name}.batchstack-0123456789ab.part" for name in ("x_depth_map.png", "s0_mine.png")
    ]
    for name in strangers:
        (ward.root / "out" / name).touch()
    ward.open(*gates)
    ward.begin("--workers", 1).end(0)
    assert parts(ward) == sorted(strangers)
    for name in strangers:
        (ward.root / "out" / name).unlink()
    oracle.judge(done=4)


def test_a_killed_worker_leaves_nothing_when_the_run_ends(ward):
    oracle = ward.stacks(3)
    ward.shut("publish-s0")
    run = ward.begin("--workers", 1)
    ward.wait_until_reached("publish-s0", run=run)
    (worker,) = ward.reached()
    kill(worker)
    ward.open("publish-s0")
    assert "0 failed" in run.end(0)
    assert not parts(ward)
    oracle.judge(done=3)
