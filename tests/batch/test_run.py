"""The main job as a process: engines agree, runs resume, failures stay alone."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest

from batchstack.batch.manifest import OWN_NAMES
from batchstack.fusion import METHODS, fuse
from batchstack.images import read_image, write_image
from tests.conftest import Workspace
from tests.processes import DaskProcesses, wait_for, wait_for_death_of_workers, workers_of
from tests.scenes import stack


@pytest.fixture
def mixed(workspace):
    """Stacks of several kinds, one of them larger than a tile of 128."""
    stacks = {
        "grey": workspace.stack("grey", grey=True),
        "deep": workspace.stack("deep", dtype="uint16", suffix=".tif"),
        "float": workspace.stack("float", dtype="float32", suffix=".tif"),
        "five": workspace.stack("five", n_frames=5),
        "deep/er": workspace.stack("deeper", shape=(300, 200), suffix=".jpg"),
    }
    workspace.manifest(stacks)
    return workspace


def test_the_loop_writes_what_fusion_computes(mixed):
    mixed.run("run", "pairs.csv", "-o", "out", "--workers", 0, "--tile", 128)
    for name, suffix in (("grey", ".png"), ("deep", ".tif"), ("float", ".tif"), ("five", ".png")):
        paths = sorted((mixed.root / "frames").glob(f"{name}_*"))
        for output, expected in fuse([read_image(path) for path in paths]).items():
            written = read_image(mixed.root / "out" / name / f"{output}{suffix}")
            np.testing.assert_array_equal(written, expected)
    outputs = [name for method in METHODS.values() for name in method.outputs]
    assert len(mixed.outputs("out")) == 5 * len(outputs)


def test_all_engines_write_identical_files(mixed):
    options = ["--tile", 128]
    mixed.run("run", "pairs.csv", "-o", "loop", "--workers", 0, *options)
    mixed.run("run", "pairs.csv", "-o", "embedded", "--workers", 2, *options)
    expected = mixed.outputs("loop")
    assert mixed.outputs("embedded") == expected
    with DaskProcesses(mixed.root, workers=2) as cluster:
        address = cluster.address
        mixed.run("run", "pairs.csv", "-o", "remote", "--scheduler", address, *options)
        file = mixed.root / "scheduler.json"
        mixed.run("run", "pairs.csv", "-o", "file", "--scheduler-file", file, *options)
        report = mixed.run("doctor", "--scheduler", address).stdout
    assert mixed.outputs("remote") == expected
    assert mixed.outputs("file") == expected
    assert "2 workers" in report


def limit_that_splits(workspace, options):
    """A memory limit at which the stack is neither held nor staged as a whole."""
    limit, given, tasks = None, [], "one task"
    while tasks == "one task":
        given = ["--memory-limit", limit] if limit else []
        plan = json.loads(workspace.run("check", "pairs.csv", "--json", *given, *options).stdout)
        tasks, limit = plan["tasks"], plan["memory"] - 1
    assert tasks == "tile by tile"
    return given[1]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("suffix", "dtype"), [(".jpg", "uint8"), (".tif", "uint16")])
def test_a_split_stack_equals_a_whole_one(workspace, workers, suffix, dtype):
    frames = workspace.stack("s", shape=(1000, 900), suffix=suffix, dtype=dtype)
    workspace.manifest({"s": frames})
    workspace.run("run", "pairs.csv", "-o", "whole", "--workers", 0)
    options = ["--tile", 128, "--methods", "all_channels,median_mask,direct"]
    limit = limit_that_splits(workspace, options)
    workspace.run(
        "run", "pairs.csv", "-o", "split", "--workers", workers, "--memory-limit", limit, *options
    )
    whole, split = workspace.outputs("whole"), workspace.outputs("split")
    assert len(split) == 4
    assert all(whole[name] == content for name, content in split.items())
    assert not list((workspace.root / "split" / ".batchstack").glob("scratch/*"))


def test_the_measured_peak_stays_under_the_prediction(workspace):
    workspace.manifest(
        {
            "pair": workspace.stack("pair", shape=(1500, 2000), suffix=".jpg"),
            "small": workspace.stack("small", shape=(800, 1000), grey=True),
            "deep": workspace.stack("deep", shape=(900, 1000), dtype="uint16"),
            "stack": workspace.stack("stack", shape=(700, 900), n_frames=6),
        }
    )
    plan = workspace.run("check", "pairs.csv", "--json", "--workers", 0).stdout
    predicted = {step["id"]: step["memory"] for step in map(json.loads, plan.splitlines())}
    for name in predicted:
        (workspace.root / "one.csv").write_text(
            "\n".join(
                line
                for line in (workspace.root / "pairs.csv").read_text().splitlines()
                if line.startswith((f"{name},", "id"))
            )
        )
        workspace.run("run", "one.csv", "-o", name, "--workers", 0)
        status = workspace.run("status", name, "--json").stdout
        assert json.loads(status)["peak_memory"] < predicted[name]


@pytest.mark.parametrize("shape", [(300, 400), (900, 1200)], ids=str)
def test_the_peak_of_a_small_pair_stays_under_the_prediction(workspace, shape):
    """Nearly all of it is the process, and the decision map has its finest cells."""
    workspace.manifest({"small": workspace.stack("small", shape=shape, suffix=".jpg")})
    options = ["--align", "off", "--methods", "bayesian,guided", "--workers", 0]
    predicted = json.loads(workspace.run("check", "pairs.csv", "--json", *options).stdout)
    workspace.run("run", "pairs.csv", "-o", "out", *options)
    known = json.loads(workspace.run("status", "out", "--json").stdout)
    assert known["peak_memory"] < predicted["memory"]


def test_a_second_run_does_nothing_and_says_so(mixed):
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0]
    mixed.run(*run)
    before = times(mixed.root / "out")
    said = mixed.run(*run).stderr
    assert "0 done, 5 skipped" in said
    assert "up to date" in said
    assert times(mixed.root / "out") == before


def test_a_changed_option_redoes_exactly_what_it_touches(workspace):
    workspace.manifest({"s": workspace.stack("s", suffix=".jpg")})
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0]
    workspace.run(*run)
    touched = {
        ("--median-sizes", "5,5,5,3,3"): {"focus_stacked_new_method", "blending_mask"},
        ("--beta", "0.3"): {
            "focus_stacked_all_channels",
            "focus_stacked_by_channel",
            "focus_stacked_laplacian",
            "focus_stacked_direct",
        },
        ("--quality", "80"): {name for method in METHODS.values() for name in method.outputs},
        ("--tile", "128"): set(),
        ("--resize",): set(),
    }
    options = []
    for option, expected in touched.items():
        before = times(workspace.root / "out")
        options += option
        workspace.run(*run, *options)
        after = times(workspace.root / "out")
        assert {
            name.split("/")[1].split(".")[0] for name in after if after[name] != before[name]
        } == expected


def test_resized_frames_are_done_until_resizing_is_no_longer_asked_for(workspace):
    frames = [workspace.stack("a")[0], workspace.stack("b", shape=(30, 40))[1]]
    workspace.manifest({"s": frames})
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0]
    workspace.run(*run, "--resize")
    assert "1 skipped" in workspace.run(*run, "--resize").stderr
    assert "b_1.png" in workspace.run(*run, code=1).stderr


def test_a_new_method_is_added_without_redoing_others(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0]
    workspace.run(*run, "--methods", "direct")
    before = times(workspace.root / "out")
    assert set(before) == {"s/focus_stacked_direct.png"}
    workspace.run(*run, "--methods", "direct,laplacian")
    after = times(workspace.root / "out")
    assert set(after) == {*before, "s/focus_stacked_laplacian.png"}
    assert before.items() <= after.items()


def test_deleted_and_shortened_outputs_come_back(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0]
    workspace.run(*run)
    expected = workspace.outputs("out")
    (workspace.root / "out/s/blending_mask.png").unlink()
    with (workspace.root / "out/s/focus_stacked_direct.png").open("r+b") as file:
        file.truncate(50)
    plan = workspace.run("check", "pairs.csv", "-o", "out").stdout
    assert "blending_mask.png is missing" in plan
    assert "focus_stacked_direct.png has 50 bytes" in plan
    workspace.run("status", "out", code=1)
    workspace.run(*run)
    assert workspace.outputs("out") == expected
    workspace.run("status", "out")


def test_a_copied_or_touched_data_set_is_not_fused_again(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0)
    copy = workspace.root / "copy"
    copy.mkdir()
    shutil.copytree(workspace.root / "frames", copy / "frames", copy_function=shutil.copyfile)
    shutil.copyfile(workspace.root / "pairs.csv", copy / "pairs.csv")
    assert "1 skipped" in workspace.run("run", "copy/pairs.csv", "-o", "out", "--workers", 0).stderr


def test_a_changed_frame_is_fused_again(workspace):
    frames = workspace.stack("s")
    workspace.manifest({"s": frames})
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0]
    workspace.run(*run)
    write_image(workspace.root / frames[0], stack((60, 80), 2, seed=9)[0])
    assert "s_0.png changed" in workspace.run("check", "pairs.csv", "-o", "out").stdout
    assert "1 done" in workspace.run(*run).stderr


def test_failures_stay_alone_and_become_a_manifest(workspace):
    stacks = {
        "good": workspace.stack("good", suffix=".jpg"),
        "truncated": workspace.stack("truncated", suffix=".jpg"),
        "text": ["frames/text.jpg", workspace.stack("t", suffix=".jpg")[0]],
        "empty": ["frames/empty.jpg", workspace.stack("e", suffix=".jpg")[0]],
        "nan": workspace.stack("nan", dtype="float32", suffix=".tif"),
        "last": workspace.stack("last", suffix=".jpg"),
    }
    damaged = workspace.root / stacks["truncated"][1]
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[: len(whole) // 2])
    (workspace.root / "frames/text.jpg").write_text("not a picture")
    (workspace.root / "frames/empty.jpg").touch()
    broken = np.zeros((60, 80, 3), np.float32)
    broken[7, 7] = np.nan
    write_image(workspace.root / stacks["nan"][0], broken)
    workspace.manifest(stacks)
    said = workspace.run("run", "pairs.csv", "-o", "out", "--workers", 2, code=1).stderr
    for place, name, what in (
        ("pairs.csv:3", "truncated_1.jpg", "Premature end"),
        ("pairs.csv:4", "text.jpg", "not a JPEG"),
        ("pairs.csv:5", "empty.jpg", "empty"),
        ("pairs.csv:6", "nan_0.tif", "finite"),
    ):
        assert re.search(f"{place} .*{name}.*{what}", said), said
    assert "2 done, 0 skipped, 4 failed" in said
    assert {name.split("/")[0] for name in workspace.outputs("out")} == {"good", "last"}
    again = workspace.run("run", "out/failed.csv", "-o", "out", "--workers", 0, code=1).stderr
    assert "0 done, 0 skipped, 4 failed" in again
    damaged.write_bytes(whole)
    workspace.run("run", "out/failed.csv", "-o", "out", "--workers", 0, code=1)
    said = workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0, code=1).stderr
    assert "0 done, 3 skipped, 3 failed" in said


def test_a_full_disk_fails_the_stack_and_leaves_nothing_half_written(workspace):
    workspace.manifest({"s": workspace.stack("s", shape=(400, 400))})
    limit = "import resource, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN); "
    limit += "resource.setrlimit(resource.RLIMIT_FSIZE, (60000, 60000)); "
    code = limit + "from batchstack.cli.main import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "run", "pairs.csv", "-o", "out", "--workers", "0"],
        cwd=workspace.root,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1, done.stderr
    assert "out/s/focus_stacked" in done.stderr
    assert workspace.outputs("out").keys() <= {"s/blending_mask.png"}


def test_what_a_format_cannot_hold_is_refused_and_nothing_starts_if_that_is_all(workspace):
    good, deep = workspace.stack("a", suffix=".jpg"), workspace.stack("b", dtype="uint16")
    run = ["run", "pairs.csv", "-o", "out", "--workers", 0, "--format", "jpg"]
    workspace.manifest({"b": deep})
    said = workspace.run(*run, code=2).stderr
    assert re.search("pairs.csv:2 b: .*b_0.png: has uint16", said)
    assert "nothing was started" in said
    assert workspace.outputs("out") == {}
    workspace.manifest({"a": good, "b": deep})
    assert "b_0.png" in workspace.run(*run, code=1).stderr
    assert {name.split("/")[0] for name in workspace.outputs("out")} == {"a"}


def test_too_many_failures_stop_the_run(workspace):
    stacks = {f"s{i}": workspace.stack(f"s{i}") for i in range(6)}
    for name in ("s0", "s1"):
        path = workspace.root / stacks[name][0]
        path.write_bytes(path.read_bytes()[:-500])
    workspace.manifest(stacks)
    said = workspace.run(
        "run", "pairs.csv", "-o", "out", "--workers", 0, "--max-failures", 2, code=1
    ).stderr
    assert "0 done, 0 skipped, 2 failed, 4 not started" in said


@pytest.fixture(scope="module")
def long_run_made(tmp_path_factory):
    """Enough work that a run can be hit in its middle, and what it comes to."""
    made = Workspace(tmp_path_factory.mktemp("long_run"))
    made.manifest({f"s{i:02}": made.stack(f"s{i}", shape=(700, 800)) for i in range(10)})
    made.run("run", "pairs.csv", "-o", "expected", "--workers", 0)
    return made.root


@pytest.fixture
def long_run(long_run_made, workspace):
    shutil.copytree(long_run_made, workspace.root, dirs_exist_ok=True)
    return workspace


def test_a_run_killed_at_any_moment_resumes(long_run):
    run = ["run", "pairs.csv", "-o", "out", "--workers", 2]
    for outputs in (1, 20, 45):
        process = long_run.start(*run)
        wait_for(lambda wanted=outputs: long_run.finished("out") >= wanted, process)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        wait_for_death_of_workers(long_run.root)
    assert len(long_run.outputs("out")) < 80
    long_run.run(*run)
    assert long_run.outputs("out") == long_run.outputs("expected")


def test_a_killed_worker_costs_nothing(long_run):
    process = long_run.start("run", "pairs.csv", "-o", "out", "--workers", 2)
    wait_for(lambda: long_run.finished("out") >= 3, process)
    workers_of(process)[0].kill()
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 0, said
    assert long_run.outputs("out") == long_run.outputs("expected")


def test_an_interrupt_drains_and_the_next_run_resumes(long_run):
    process = long_run.start("run", "pairs.csv", "-o", "out", "--workers", 2)
    wait_for(lambda: long_run.finished("out") >= 1, process)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=200)
    assert process.returncode == 130, said
    assert "not started" in said
    assert not [name for name in long_run.outputs("out") if name.endswith(".part")]
    assert "0 skipped" not in long_run.run("run", "pairs.csv", "-o", "out", "--workers", 0).stderr
    assert long_run.outputs("out") == long_run.outputs("expected")


def test_a_lost_scheduler_ends_the_run_with_its_own_code(long_run):
    with DaskProcesses(long_run.root, workers=2) as cluster:
        address = cluster.address
        process = long_run.start("run", "pairs.csv", "-o", "out", "--scheduler", address)
        wait_for(lambda: long_run.finished("out") >= 1, process)
        cluster.scheduler.kill()
        said, _ = process.communicate(timeout=120)
    assert process.returncode == 3, said
    long_run.run("run", "pairs.csv", "-o", "out", "--workers", 0)
    assert long_run.outputs("out") == long_run.outputs("expected")


def test_an_unreachable_scheduler_is_refused(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    said = workspace.run(
        "run", "pairs.csv", "-o", "out", "--scheduler", "tcp://127.0.0.1:9", code=2
    ).stderr
    assert "cannot reach the scheduler" in said


def test_two_runs_do_not_share_an_output_directory(long_run):
    process = long_run.start("run", "pairs.csv", "-o", "out", "--workers", 0)
    wait_for(lambda: long_run.finished("out") >= 1, process)
    assert "another run" in long_run.run("run", "pairs.csv", "-o", "out", code=2).stderr
    process.communicate(timeout=200)
    assert process.returncode == 0


def times(folder):
    return {
        str(path.relative_to(folder)): path.stat().st_mtime_ns
        for path in folder.rglob("*.*")
        if path.is_file() and not {".batchstack", *OWN_NAMES} & set(path.parts)
    }
