"""Real processes hurt in real ways; the oracle says what must hold after each."""

import json
import os
import shutil
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

import batchstack
from tests.faults.ward import OPTIONS, Ward, WardOracle, kill, namespace, shell, stop, thaw
from tests.processes import DaskProcesses, wait_for

# For machines that are busy; a run that hangs still meets it.
pytestmark = pytest.mark.timeout(900)

# What waits a minute and more in earnest.
IMPATIENT = {
    "crew": {"PATIENCE": 1.0, "FROZEN": 3.0, "STALLED": 4.0},
    "dispatch": {"PATIENCE": 1.0, "STALLED": 4.0},
    "cluster": {"CONNECT_SECONDS": 2},
    "dask_cluster": {"FIRST_ANSWER": 1.0},
}


def long(value):
    """A parameter that only the long form of a test takes."""
    return pytest.param(value, marks=pytest.mark.long)


@pytest.fixture
def ward(tmp_path):
    ward = Ward(tmp_path)
    yield ward
    ward.close()


@contextmanager
def cluster(ward, workers=1):
    """A Dask cluster whose processes take the hooks in, and the options to run on it."""
    folder = ward.root / "cluster"
    folder.mkdir()
    with DaskProcesses(folder, workers, ward.hooks()) as processes:
        processes.options = ("--scheduler-file", processes.file)
        yield processes


def frames(ward, name):
    return sorted((ward.root / "frames").glob(f"{name}_*"))


# --- workers that are killed


def test_a_killed_worker_costs_nothing_and_blames_nobody(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    victim, _ = ward.wait_until_held(2, run)
    kill(victim)
    run.wait_until_said("was killed or crashed")
    ward.open()
    assert f"{ward.reached()[victim]} is tried once more at the end, alone" in run.end(0)
    oracle.judge(done=6)


def test_a_worker_begins_another_stack_while_one_waits_for_the_disk(ward):
    """And when it is killed then, neither is lost."""
    oracle = ward.stacks(3)
    ward.shut("publish-s0", "s1")
    run = ward.begin("--workers", 1)
    ward.wait_until_reached("publish-s0", "s1", run=run)
    (worker,) = ward.reached()
    kill(worker)
    ward.open("publish-s0", "s1")
    assert "0 failed" in run.end(0)
    oracle.judge(done=3)


@pytest.mark.long
def test_a_worker_killed_again_and_again_under_other_stacks_costs_nothing(ward):
    oracle = ward.stacks(8)
    ward.shut("all")
    run = ward.begin("--workers", 2)
    hurt = set()
    for _ in range(3):
        wait_for(lambda: len(ward.reached().keys() - hurt) >= 2, run, 240)
        victim = max(ward.reached().keys() - hurt)
        hurt.add(victim)
        kill(victim)
    ward.open()
    assert "0 failed" in run.end(0)
    oracle.judge(done=8)


def split(ward, **stacks):
    """A ward whose stacks do not fit a worker, and the options that say so."""
    ward.arguments = (*ward.arguments, "--tile", 128)
    oracle = ward.known(stacks)
    limit, tasks = None, {"one task"}
    while tasks == {"one task"}:
        given = ("--memory-limit", limit) if limit else ()
        plan = ward.run("check", *ward.arguments[1:], "--json", *given).stdout
        lines = [json.loads(line) for line in plan.splitlines()]
        tasks = {line["tasks"] for line in lines}
        limit = min(line["memory"] for line in lines) - 1
    assert tasks == {"tile by tile"}
    return oracle, given


def test_a_worker_killed_over_a_tile_loses_only_that(ward):
    oracle, options = split(ward, big=ward.stack("big", (300, 400)))
    ward.shut("big")
    run = ward.begin("--workers", 2, *options)
    victim, _ = ward.wait_until_held(2, run)
    kill(victim)
    run.wait_until_said("others go on with big")
    ward.open("big")
    run.end(0)
    oracle.judge(done=1)


KILLS = """
@after("batchstack.batch.tasks")
def kill_by_poison(tasks):
    fuse_stack = tasks._fuse_stack
    def fuse(job):
        if job.id == "s2":
            os.kill(os.getpid(), 9)
        return fuse_stack(job)
    tasks._fuse_stack = fuse
"""
SWELLS = """
@after("batchstack.batch.tasks")
def swell_by_poison(tasks):
    import numpy as np
    fuse_stack = tasks._fuse_stack
    def fuse(job):
        if job.id == "s2":
            held = np.ones(700 * 2**20, np.uint8)
            time.sleep(60)
        return fuse_stack(job)
    tasks._fuse_stack = fuse
"""


@pytest.mark.parametrize(
    ("hurt", "how"),
    [(KILLS, "was killed or crashed"), (SWELLS, "was ended for using more than its memory limit")],
    ids=["killed", "memory"],
)
def test_a_stack_that_kills_its_workers_is_the_only_one_to_fail(ward, hurt, how):
    oracle = ward.stacks()
    ward.hurt(hurt)
    said = ward.hurried("--workers", 2, "--memory-limit", "600MiB", code=1)
    assert f"s2: its worker {how} each of 2 times" in said
    assert "with nothing beside it" in said
    assert "5 done, 0 skipped, 1 failed" in said
    assert "s2" in (ward.root / "out/failed.csv").read_text()
    oracle.judge(done=5)


# --- workers that do not move


def test_a_worker_stopped_for_seconds_goes_on(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    sleeper, _ = ward.wait_until_held(2, run)
    stop(sleeper)
    ward.open()
    # It holds one stack, and one waits for it.
    wait_for(lambda: ward.finished("out") == 4, run, 240)
    thaw(sleeper)
    assert "no sign of life" not in run.end(0)
    oracle.judge(done=6)


def test_the_work_of_a_frozen_worker_is_done_elsewhere(ward):
    oracle = ward.stacks()
    ward.hurt("", **IMPATIENT)
    ward.shut("all")
    run = ward.begin("--workers", 2)
    frozen, _ = ward.wait_until_held(2, run)
    stop(frozen)
    ward.open()
    assert "has given no sign of life for 3 seconds; its work is done elsewhere" in run.end(0)
    oracle.judge(done=6)


def test_a_frozen_worker_that_thaws_after_the_run_changes_nothing(ward):
    oracle = ward.stacks()
    ward.hurt("", **IMPATIENT)
    with cluster(ward, workers=2) as dask:
        ward.shut("s0")
        run = ward.begin(*dask.options)
        ward.wait_until_reached("s0", run=run)
        (frozen,) = (pid for pid, stack in ward.reached().items() if stack == "s0")
        stop(frozen)
        ward.open("s0")
        assert "no sign of life" in run.end(0)
        before, written = ward.tree("out"), ward.times("written")
        thaw(frozen)
        wait_for(lambda: ward.times("written") > written or ended(frozen))
        assert ward.tree("out") == before
    oracle.judge(done=6)


def ended(pid):
    try:
        return "Z" in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2]
    except OSError:
        return True


def test_a_worker_that_does_not_answer_is_named_and_the_others_work(ward):
    oracle = ward.stacks()
    ward.hurt("", **{**IMPATIENT, "crew": {"PATIENCE": 1.0}})
    with cluster(ward) as dask:
        silent = dask.add_worker()
        dask.wait_for_workers(2)
        stop(silent.pid)
        ward.shut("all")
        run = ward.begin(*dask.options)
        run.wait_until_said("does not answer; it is not used until it does")
        ward.open()
        run.end(0)
    oracle.judge(done=6)


@pytest.fixture
def stopped(ward):
    """A run on a cluster of which all workers have stopped."""
    oracle = ward.stacks()
    ward.hurt("", **IMPATIENT)
    with cluster(ward, workers=2) as dask:
        ward.shut("all")
        run = ward.begin(*dask.options, "--wait-workers", 4)
        for pid in ward.wait_until_held(2, run):
            stop(pid)
        yield run
        ward.open()
    oracle.judge(done=0)


def test_a_run_without_workers_ends_when_it_has_waited(stopped):
    said = stopped.end(3)
    assert "no worker could be used for 4 seconds" in said
    assert "run again" in said


def test_a_drained_run_does_not_wait_for_workers(stopped):
    stopped.wait_until_said("no sign of life")
    stopped.signal(signal.SIGINT)
    assert "that no worker is at work on are left for the next run" in stopped.end(130, seconds=120)


@pytest.mark.long
def test_a_run_whose_workers_are_all_paused_ends_when_it_has_waited(ward):
    oracle = ward.stacks(1)
    ward.hurt("", **IMPATIENT)
    pause = {"DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE": "0.01"}
    with cluster(ward, workers=0) as dask:
        dask.add_worker("--memory-limit", "2GiB", environment=pause)
        dask.wait_for_workers(1)
        said = ward.hurried(*dask.options, "--wait-workers", 3, code=3)
    assert "no worker could be used for 3 seconds (1 paused for want of memory)" in said
    oracle.judge(done=0)


# --- the processes around them


def test_a_killed_fork_server_costs_nothing(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    worker, _ = ward.wait_until_held(2, run)
    kill(parent(worker))
    ward.open()
    assert "0 failed" in run.end(0)
    oracle.judge(done=6)


@pytest.mark.long
def test_fork_server_and_workers_killed_at_once_cost_nothing(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    workers = ward.wait_until_held(2, run)
    kill(parent(workers[0]))
    for worker in workers:
        kill(worker)
    ward.open()
    assert "0 failed" in run.end(0)
    oracle.judge(done=6)


def parent(pid):
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_killed_scheduler_ends_the_run_and_the_next_resumes(ward):
    oracle = ward.stacks()
    with cluster(ward) as dask:
        ward.shut("s4")
        run = ward.begin(*dask.options)
        ward.wait_until_reached("s4", run=run)
        wait_for(lambda: len(oracle.recorded("out")) == 4, run)
        dask.scheduler.kill()
        assert "the scheduler went away; finished work is recorded" in run.end(3)
        ward.open("s4")
    oracle.judge(done=4)


@pytest.mark.parametrize("very", [False, long(True)])
def test_a_scheduler_stopped_for_a_while_is_waited_for(ward, very):
    oracle = ward.stacks()
    with cluster(ward) as dask:
        ward.shut("s2")
        run = ward.begin(*dask.options)
        ward.wait_until_reached("s2", run=run)
        stop(dask.scheduler.pid)
        ward.open("s2")
        with pytest.raises(AssertionError, match="too long"):
            wait_for(lambda: len(oracle.recorded("out")) == 6, run, 90 if very else 4)
        thaw(dask.scheduler.pid)
        assert "0 failed" in run.end(0, seconds=120)
    oracle.judge(done=6)


@pytest.mark.long
def test_a_stopped_client_goes_on_when_it_is_thawed(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    ward.wait_until_held(2, run)
    stop(run.process.pid)
    ward.open()
    wait_for(lambda: ward.finished("out") >= 2, seconds=240)  # or what waited for them as well
    thaw(run.process.pid)
    assert "0 failed" in run.end(0)
    oracle.judge(done=6)


# --- runs that are killed, and those that come after


@pytest.mark.parametrize("newer", ["at work", "over"])
@pytest.mark.parametrize("gate", ["", long("publish-")], ids=["begun", "written"])
def test_what_a_killed_run_left_going_does_not_replace_the_outputs_of_a_newer_one(
    ward, gate, newer
):
    gates = (f"{gate}s0", f"{gate}s1")
    older = ward.stacks()
    oracle = WardOracle(ward, "--beta", 0.3)
    assert not set(older.expected.values()) & set(oracle.expected.values())
    with cluster(ward, workers=0) as dask:
        # More threads than gates: what waits behind a shut one would wait for ever.
        for _ in range(2):
            dask.add_worker("--nthreads", "8")
        dask.wait_for_workers(2)
        ward.shut(*gates)
        killed = ward.begin(*dask.options)
        ward.wait_until_reached(*gates, run=killed)
        kill(killed.process.pid)
        killed.end(-signal.SIGKILL)
        ward.pass_by(*gates)
        ward.shut("s5")
        run = ward.begin(*dask.options, "--beta", 0.3)
        wait_for(lambda: len(oracle.expected.items() & ward.outputs("out").items()) == 5, run, 240)
        if newer == "at work":
            let_go(ward, gates)
        ward.open("s5")
        run.end(0)
        if newer == "over":
            let_go(ward, gates)
    oracle.judge(done=6)


def let_go(ward, gates):
    """Open the gates at which two tasks of a killed run wait, and wait for what they write."""
    written = ward.times("written")
    ward.open(*gates)
    wait_for(lambda: ward.times("written") >= written + 2, seconds=240)


@pytest.mark.long
def test_a_killed_client_and_workers_leave_nothing_that_the_next_run_minds(ward):
    oracle, options = split(ward, a=ward.stack("a", (300, 400)), b=ward.stack("b", (300, 400)))
    ward.shut("b")
    run = ward.begin("--workers", 2, *options)
    ward.wait_until_reached("b", run=run)
    os.killpg(run.process.pid, signal.SIGKILL)
    run.end(-signal.SIGKILL)
    ward.open("b")
    oracle.judge()


def test_tiles_of_a_killed_run_leave_nothing_behind(ward):
    oracle, options = split(ward, a=ward.stack("a", (300, 400)))
    with cluster(ward, workers=0) as dask:
        dask.add_worker("--nthreads", "8")
        dask.wait_for_workers(1)
        ward.shut("tile-a-0-0")
        killed = ward.begin(*dask.options, *options)
        ward.wait_until_reached("tile-a-0-0", run=killed)
        kill(killed.process.pid)
        killed.end(-signal.SIGKILL)
        ward.pass_by("tile-a-0-0")
        ward.begin(*dask.options, *options).end(0)
        before = ward.times("tile-ended")
        ward.open("tile-a-0-0")
        wait_for(lambda: ward.times("tile-ended") > before, seconds=240)
    oracle.judge(done=1)


# --- workers that come late


def test_a_cluster_without_workers_is_waited_for(ward):
    oracle = ward.stacks()
    with cluster(ward, workers=0) as dask:
        run = ward.begin(*dask.options, "--wait-workers", 60)
        run.wait_until_said("waiting for workers at")
        dask.add_worker()
        assert "up to 60 seconds" in run.end(0)
    oracle.judge(done=6)


def test_a_cluster_that_stays_without_workers_is_refused(ward):
    ward.stacks()
    with cluster(ward, workers=0) as dask:
        said = ward.hurried(*dask.options, "--wait-workers", 1, code=2)
    assert "has had no workers for 1 seconds; start some" in said
    assert ward.outputs("out") == {}


def test_late_workers_get_work_if_they_fit_and_are_named_if_they_do_not(ward, tmp_path):
    oracle = ward.stacks(12)
    older = another_version(tmp_path / "older")
    with cluster(ward) as dask:
        ward.shut("all")
        run = ward.begin(*dask.options)
        ward.wait_until_held(1, run)
        old = dask.add_worker(environment=ward.hooks(older))
        dask.add_worker("--memory-limit", "300MiB")
        run.wait_until_said("it has batchstack")
        run.wait_until_said("it has 300 MiB of memory per thread, the plan relies on")
        good = dask.add_worker()
        wait_for(lambda: good.pid in ward.reached(), run, 240)
        ward.open()
        assert run.end(0).count("is not used") == 2
    assert old.pid not in ward.reached()
    oracle.judge(done=12)


def another_version(folder):
    """A copy of the package whose images are inverted."""
    shutil.copytree(Path(batchstack.__file__).parent, folder / "batchstack")
    source = folder / "batchstack/batch/tasks.py"
    there = source.read_text()
    fused = "outputs[name][area.slices]"
    assert fused in there
    source.write_text(there.replace(fused, f"(255 - {fused})"))
    return folder


def test_another_version_would_write_other_images(ward, tmp_path):
    oracle = ward.stacks(1)
    path = os.pathsep.join([str(another_version(tmp_path / "older"))])
    done = subprocess.run(
        ward.command(*ward.arguments, "-o", "out", "--workers", 0),
        cwd=ward.root,
        env=ward.environment() | {"PYTHONPATH": path},
    )
    assert done.returncode == 0
    assert not set(ward.outputs("out").values()) & set(oracle.expected.values())


@pytest.mark.parametrize("when", ["late", long("early")])
def test_a_worker_that_does_not_see_the_outputs_is_not_used(ward, when):
    oracle = ward.stacks()
    out = ward.root / "out"
    out.mkdir()
    blindly = namespace('mount -t tmpfs tmpfs "$0"', str(out))
    with cluster(ward) as dask:
        if when == "early":
            dask.add_worker(before=blindly)
            dask.wait_for_workers(2)
        ward.shut("all")
        run = ward.begin(*dask.options)
        ward.wait_until_held(1, run)
        if when == "late":
            dask.add_worker(before=blindly)
        run.wait_until_said(f"is not used: it does not see {out}")
        ward.open()
        run.end(0)
    oracle.judge(done=6)


# --- runs beside each other


def test_a_second_run_into_the_same_output_is_refused_and_harms_nothing(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    ward.wait_until_held(2, run)
    second = ward.command(*ward.arguments, "-o", "out", "--workers", 2)
    done = subprocess.run(second, cwd=ward.root, capture_output=True, text=True, timeout=240)
    assert done.returncode == 2
    assert "another run is writing here" in done.stderr
    ward.open()
    run.end(0)
    oracle.judge(done=6)


def test_two_runs_share_a_scratch_folder(ward):
    names = ("a", "b")
    oracle, options = split(ward, **{name: ward.stack(name, (300, 400)) for name in names})
    strange = ward.root / "scratch/.x.part"
    strange.parent.mkdir()
    strange.write_text("a stranger's")
    options = (*options, "--workers", 1, "--scratch", "scratch")
    ward.shut("all")
    runs = [ward.begin(*options, folder=folder) for folder in ("one", "two")]
    ward.wait_until_held(2, runs[0])
    assert len(list((ward.root / "scratch").iterdir())) == 3
    ward.open()
    for run in runs:
        assert run.process.wait(60) == 0, run.said
    for folder in ("one", "two"):
        oracle.judge(folder, done=2)
    assert [path.name for path in (ward.root / "scratch").iterdir()] == [".x.part"]


@pytest.mark.parametrize("scratch", ["out", "frames", long(".")])
def test_scratch_where_people_keep_something_is_refused(ward, scratch):
    ward.stacks(1)
    ward.hurried("--workers", 0, code=0)
    before = ward.tree()
    said = ward.hurried("--workers", 0, "--scratch", scratch, "--rerun", code=2)
    assert "batchstack: scratch is " in said
    assert len(said.splitlines()) == 1
    assert ward.tree() == before


def test_ids_inside_each_other_do_not_share_scratch(ward):
    stacks = {"a": ward.stack("a", (300, 400)), "a/b": ward.stack("b", (300, 400))}
    oracle, options = split(ward, **stacks)
    ward.hurried("--workers", 2, *options, code=0)
    oracle.judge(done=2)


def test_what_strangers_keep_in_the_folders_survives(ward):
    oracle, options = split(ward, s0=ward.stack("s0", (300, 400)))
    strange = [
        ward.root / "out/s0/.x.part",
        ward.root / "out/s0/.x.part.d/file",
        ward.root / "out/.y.batchstack-0123456789ab.part",
        ward.root / "scratch/s0/file",
        ward.root / "scratch/batchstack-scratch-mine/file",
    ]
    for path in strange:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("a stranger's")
    ward.shut("all")
    run = ward.begin("--workers", 2, *options, "--scratch", "scratch")
    kill(ward.wait_until_held(1, run)[0])
    ward.open()
    run.end(0)
    assert all(path.read_text() == "a stranger's" for path in strange)
    for path in strange:
        path.unlink()
    oracle.judge(done=1)


# --- disks and files


def test_a_full_disk_fails_what_does_not_fit(ward):
    oracle = ward.stacks(8, shape=(120, 160))
    (ward.root / "out").mkdir()
    # Four outputs fit, and half of one more: records and the list of failures have room.
    script = (
        "mount -t tmpfs -o size=272k tmpfs out && "
        '("$@"; code=$?; cp -a out/. copy/; exit $code); exit $?'
    )
    (ward.root / "copy").mkdir()
    said = ward.hurried("--workers", 0, code=1, before=namespace(script))
    assert "make room and run again" in said
    assert 0 < oracle.judge("copy") < 8


@pytest.mark.parametrize("output", ["read-only", "below a file"])
def test_an_output_that_cannot_be_written_is_refused(ward, output):
    ward.stacks(1)
    if output == "read-only":
        (ward.root / "out").mkdir()
        before = namespace("mount -t tmpfs -o ro tmpfs out")
        said = ward.hurried("--workers", 0, code=2, before=before)
    else:
        said = ward.hurried("--workers", 0, code=2, folder="pairs.csv/out")
    assert len(said.splitlines()) == 1, said


def test_frames_that_vanish_during_the_run_fail_their_stack_alone(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2)
    ward.wait_until_held(2, run)
    (last,) = {f"s{i}" for i in range(6)} - set(ward.reached().values()) - {"s1", "s2", "s3", "s4"}
    frame = frames(ward, last)[1]
    frame.rename(ward.root / "aside")
    ward.open()
    said = run.end(1)
    assert f"{frame}: " in said
    assert "5 done, 0 skipped, 1 failed" in said
    (ward.root / "aside").rename(frame)
    oracle.judge(done=5)


def test_a_frame_that_changes_during_the_run_is_fused_as_it_was_read(ward):
    oracle = ward.stacks(3)
    back, front = frames(ward, "s2")
    right = back.read_bytes()
    back.write_bytes(front.read_bytes())
    ward.shut("s2")
    run = ward.begin("--workers", 0)
    ward.wait_until_reached("s2", run=run)
    back.write_bytes(right)
    ward.open("s2")
    run.end(0)
    oracle.judge(done=3)


WAITS_TO_RECORD = """
@after("batchstack.batch.recorder")
def wait_to_record(recorder):
    start = recorder.Recorder.start
    def held(self):
        hold("record")
        start(self)
    recorder.Recorder.start = held
"""


def test_frames_that_vanish_before_they_are_recorded_as_moved_are_of_no_concern_if_done(ward):
    oracle = ward.stacks(3)
    ward.run("run", "pairs.csv", *OPTIONS, "-o", "out", "--workers", 0)
    shutil.rmtree(ward.root / "out/s2")
    for path in frames(ward, "s0"):
        os.utime(path, (1, 1))
    ward.hurt(WAITS_TO_RECORD)
    ward.shut("record")
    run = ward.begin("--workers", 0)
    ward.wait_until_reached("record", run=run)
    (gone, _) = frames(ward, "s0")
    gone.rename(ward.root / "aside")
    ward.open("record")
    assert "1 done, 2 skipped, 0 failed" in run.end(0)
    (ward.root / "aside").rename(gone)
    oracle.judge(done=3)


def test_a_journal_that_cannot_be_read_is_refused(ward):
    oracle = ward.stacks(1)
    journal = ward.root / "out/.batchstack/journal.jsonl"
    journal.mkdir(parents=True)
    said = ward.hurried("--workers", 0, code=2)
    assert f"{journal}: cannot be read" in said
    assert ward.outputs("out") == {}
    journal.rmdir()
    oracle.judge(done=0)


def test_a_journal_that_cannot_be_written_is_refused(ward):
    oracle = ward.stacks(1)
    journal = ward.root / "out/.batchstack/journal.jsonl"
    journal.parent.mkdir(parents=True)
    journal.touch()
    script = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0"'
    said = ward.hurried("--workers", 0, code=2, before=namespace(script, str(journal)))
    assert f"{journal}: " in said
    assert ward.outputs("out") == {}
    oracle.judge(done=0)


@pytest.mark.parametrize("times", [1, long(2)])
def test_a_list_of_failures_outlives_the_interrupted_run_of_it(ward, times):
    oracle = ward.stacks(4)
    wholes = {frame: frame.read_bytes() for name in ("s1", "s2") for frame in frames(ward, name)}
    for frame, whole in wholes.items():
        frame.write_bytes(whole[:-200])
    ward.hurried("--workers", 0, code=1)
    failed = ward.root / "out/failed.csv"
    listed = failed.read_bytes()
    assert b"s1" in listed and b"s2" in listed
    for frame, whole in wholes.items():
        frame.write_bytes(whole)
    ward.arguments = ("run", "out/failed.csv", *OPTIONS)
    ward.forget()
    ward.shut("all")
    run = ward.begin("--workers", 0)
    ward.wait_until_held(1, run)
    for _ in range(times):
        run.signal(signal.SIGINT)
        run.wait_until_said("stopping after the stacks under way")
    ward.open()
    run.end(130)
    assert failed.read_bytes() == listed
    oracle.judge()


# --- streams and signals


@pytest.mark.parametrize(
    "streams", ["2>/dev/full", ">&- 2>&- <&-", *map(long, ["2>&-", ">&-", ">/dev/full"])]
)
def test_streams_that_take_nothing_cost_nothing(ward, streams):
    oracle = ward.stacks(3)
    ward.hurried("--workers", 2, code=0, before=shell(f'exec "$@" {streams}'))
    oracle.judge(done=3)


def test_a_reader_that_goes_away_costs_nothing(ward):
    oracle = ward.stacks(3)
    (ward.root / "frames/s1_0.png").write_bytes(b"no image")
    script = '{ "$@" 2>&1; echo $? >code; } | head -c 10; exit $(cat code)'
    ward.hurried("--workers", 2, "--verbose", code=1, before=shell(script))
    assert len(ward.outputs("out")) == 2
    ward.stack("s1")
    oracle.judge(done=2)


@pytest.mark.parametrize(
    "signals",
    [
        long([signal.SIGINT]),
        [signal.SIGTERM],
        long([signal.SIGHUP]),
        [signal.SIGHUP, signal.SIGHUP],
    ],
    ids=lambda signals: "+".join(one.name for one in signals),
)
def test_a_signal_drains_the_run(ward, signals):
    oracle = ward.stacks(12)
    ward.shut("all")
    log = ward.root / "log.jsonl"
    run = ward.begin("--workers", 2, "--json-log", log)
    # Not when workers have begun, but when the run has heard so.
    wait_for(lambda: log.exists() and log.read_text().count("stack_started") == 2, run)
    for number in signals:
        run.signal(number)
        run.wait_until_said("stopping after the stacks under way")
    run.wait_until_said("2 that no worker is at work on are left for the next run")
    ward.open()
    said = run.end(130)
    assert "2 done, 0 skipped, 0 failed, 10 not started" in said
    oracle.judge(done=2)


@pytest.mark.parametrize(
    "second", [signal.SIGINT, long(signal.SIGTERM)], ids=lambda number: number.name
)
def test_a_second_signal_ends_the_run_at_once(ward, second):
    oracle = ward.stacks()
    ward.shut("s2", "s3")
    run = ward.begin("--workers", 2)
    ward.wait_until_reached("s2", "s3", run=run)
    run.signal(signal.SIGINT)
    run.wait_until_said("stopping after the stacks under way")
    run.signal(second)
    assert "interrupted; finished work is kept" in run.end(130, seconds=240)
    oracle.judge()


@pytest.mark.long
def test_the_whole_group_is_interrupted_as_a_terminal_does(ward):
    oracle = ward.stacks(12)
    ward.shut("all")
    run = ward.begin("--workers", 2)
    ward.wait_until_held(2, run)
    os.killpg(run.process.pid, signal.SIGINT)
    run.wait_until_said("stopping after the stacks under way")
    ward.open()
    run.end(130)
    oracle.judge(done=len(ward.outputs("out")))


def test_a_closed_terminal_is_ignored_under_nohup(ward):
    oracle = ward.stacks()
    ward.shut("all")
    run = ward.begin("--workers", 2, before=("nohup",))
    ward.wait_until_held(2, run)
    os.killpg(run.process.pid, signal.SIGHUP)
    ward.open()
    run.end(0)
    oracle.judge(done=6)


# --- clocks

SHIFTED = """
_time = time.time
def _shifted():
    try:
        return _time() + float((ROOT / "clock").read_text())
    except (OSError, ValueError):
        return _time()
time.time = _shifted
"""


@pytest.mark.parametrize("shift", [-3600, long(3600)])
def test_a_clock_that_is_set_does_not_stop_a_run(ward, shift):
    oracle = ward.stacks(12)
    ward.hurt(SHIFTED)
    ward.shut("all")
    run = ward.begin("--workers", 2)
    ward.wait_until_held(2, run)
    (ward.root / "clock").write_text(str(shift))
    ward.open()
    assert "12 done, 0 skipped, 0 failed" in run.end(0)
    oracle.judge(done=12)


# --- what cannot start


@pytest.mark.parametrize(
    ("options", "limit", "remedy"),
    [
        (("--scheduler", "tls://127.0.0.1:9"), "", "--tls-ca-file"),
        (("--scheduler", "tcp://127.0.0.1:9"), "", "cannot reach the scheduler"),
        (("--scheduler", "nonsense://"), "", "cannot reach the scheduler"),
        (("--scheduler-file", "pairs.csv"), "", "is not what a scheduler writes"),
        (("--workers", 2), "ulimit -n 40; ", "ulimit -n"),
    ],
    ids=["tls", "unreachable", "nonsense", "file", "open files"],
)
def test_what_cannot_start_is_said_in_one_sentence(ward, options, limit, remedy):
    ward.stacks(1)
    ward.hurt("", **IMPATIENT)
    said = ward.hurried(*options, code=2, before=shell(f'{limit}exec "$@"'))
    assert len(said.splitlines()) == 1, said
    assert said.startswith("batchstack: ")
    assert remedy in said
    assert ward.outputs("out") == {}


def test_a_manifest_nested_without_end_is_refused(ward):
    (ward.root / "deep.yaml").write_text("- id: a\n  frames: " + "[" * 5000 + "]" * 5000)
    run = ward.start("run", "deep.yaml", "-o", "out")
    assert len(run.end(2).splitlines()) == 1
