"""The peak that a record names is that of its stack, and the plan predicts it for any length."""

import json
import sys
import threading

import numpy as np
import pytest

from batchstack.batch.machine import cores
from batchstack.batch.peak import Peak
from batchstack.batch.warm import warm_up

MEBIBYTE = 2**20


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere the system does not count anew")
def test_a_peak_is_that_of_the_task_and_not_of_the_one_before():
    with Peak() as large:
        held = np.ones(256 * MEBIBYTE, np.uint8)
    del held
    with Peak() as small:
        pass
    assert small.size < large.size - 200 * MEBIBYTE


def test_a_task_beside_another_does_not_forget_its_peak():
    reached, begun = threading.Event(), threading.Event()
    peaks = []

    def first():
        with Peak() as peak:
            held = np.ones(256 * MEBIBYTE, np.uint8)
            del held
            reached.set()
            begun.wait()
        peaks.append(peak.size)

    thread = threading.Thread(target=first)
    thread.start()
    reached.wait()
    with Peak():
        begun.set()
        thread.join()
    assert peaks[0] > 256 * MEBIBYTE


@pytest.mark.parametrize(
    ("n_frames", "shape", "methods", "workers"),
    [
        (2, (1800, 2400), "all_channels", 0),
        (12, (1200, 1600), "bayesian,guided", 0),
        (50, (500, 700), "all_channels", 0),
        (200, (200, 300), "bayesian", 0),
        # Large enough to be shared by threads of one worker.
        (12, (1800, 2400), "all_channels", 2),
        (50, (1000, 1050), "bayesian", 2),
    ],
)
def test_the_peak_of_a_stack_is_predicted_from_shapes_its_length_and_threads(
    workspace, n_frames, shape, methods, workers
):
    if workers > cores():
        pytest.skip("threads share a stack only where there are cores for them")
    warm_up()  # to compile takes more than to fuse
    frames = workspace.stack("s", shape=shape, n_frames=n_frames, suffix=".jpg")
    workspace.manifest({"s": frames})
    options = ["--methods", methods, "--align", "off", "--workers", workers]
    predicted = json.loads(workspace.run("check", "pairs.csv", "--json", *options).stdout)["memory"]
    workspace.run("run", "pairs.csv", "-o", "out", *options)
    peak = json.loads(workspace.run("status", "out", "--json").stdout)["peak_memory"]
    assert peak < predicted < 1.5 * peak


def test_workers_of_a_run_that_compiles_hold_no_more_than_those_of_the_next(
    workspace, tmp_path, monkeypatch
):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kept"))
    frames = workspace.stack("s", shape=(60, 80))
    workspace.manifest({"s": frames})
    options = ("--methods", "direct", "--align", "off", "--workers", 1)
    peaks = []
    for output in ("first", "second"):
        said = workspace.run("run", "pairs.csv", "-o", output, *options).stderr
        assert ("compiling" in said) == (output == "first")
        peaks.append(json.loads(workspace.run("status", output, "--json").stdout)["peak_memory"])
    assert peaks[0] < 1.3 * peaks[1]
