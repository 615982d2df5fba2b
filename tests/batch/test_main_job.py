"""A run from Python: it returns what the command prints."""

import doctest
import json
import re
import subprocess
import sys
from inspect import isfunction
from pathlib import Path
from threading import Thread

import pytest

import batchstack
from batchstack import ClusterOptions, FusionOptions, RunOptions
from batchstack.batch.engines import StopRequest
from batchstack.batch.events import RunStarted, StackDone, StackFailed
from batchstack.cli.progress import closing_summary
from batchstack.errors import ManifestError, OptionError, OutputInUseError, PlanError

GUIDE = (Path(__file__).parents[2] / "docs" / "python.md").read_text()
HERE = ClusterOptions(workers=0)
DIRECT = RunOptions(methods=("direct",))


@pytest.fixture
def run(workspace):
    """Run the manifest of the workspace in this process."""

    def run(options=DIRECT, **settings):
        return batchstack.run(
            workspace.root / "pairs.csv", workspace.root / "out", options, HERE, **settings
        )

    return run


@pytest.fixture
def one_bad(workspace):
    """Two sound stacks and one whose frames do not fit together."""
    bad = [workspace.stack("a")[0], workspace.stack("b", shape=(9, 9))[1]]
    stacks = {name: workspace.stack(name) for name in ("first", "second")}
    workspace.manifest(stacks | {"bad": bad})
    return workspace


def test_a_run_returns_counts_failures_and_scores(one_bad, run):
    summary = run(RunOptions(methods=("direct",), score=True))
    assert (summary.done, summary.skipped, summary.remaining) == (2, 0, 0)
    (failure,) = summary.failures
    assert failure.row.id == "bad" and "give frames of one size" in failure.message
    assert set(summary.scores) == {"first", "second"}
    assert summary.megapixels == pytest.approx(4 * 60 * 80 / 1e6)
    assert not summary.interrupted and summary.seconds > 0
    again = run()
    assert (again.done, again.skipped, len(again.failures)) == (0, 2, 1)


def test_the_command_prints_what_a_run_returns(one_bad, run):
    arguments = ["run", "pairs.csv", "-o", "out", "--methods", "direct", "--workers", "0"]
    one_bad.run(*arguments, code=1)
    printed = one_bad.run(*arguments, code=1).stderr

    def words(text):
        return re.sub(r"in [0-9.]+ s", "", text)

    assert words(closing_summary(run(), one_bad.root / "out")) in words(printed)


def test_a_listener_hears_of_the_start_and_of_every_stack(one_bad, run):
    heard = []
    run(listener=heard.append)
    assert (heard[0].stacks, heard[0].skipped) == (2, 0)
    done = [event for event in heard[1:] if isinstance(event, StackDone)]
    assert heard[0].megapixels == pytest.approx(sum(event.megapixels for event in done))
    assert sorted(event.row.id for event in heard[1:] if isinstance(event, StackDone)) == [
        "first",
        "second",
    ]
    assert [event.row.id for event in heard if isinstance(event, StackFailed)] == ["bad"]


def test_a_run_outside_the_main_thread_is_stopped_by_its_request_alone(one_bad, run):
    stop, found = StopRequest(), []

    def listen(event):
        stop.drain = isinstance(event, StackDone) or stop.drain

    thread = Thread(target=lambda: found.append(run(listener=listen, stop=stop)))
    thread.start()
    thread.join()
    (summary,) = found
    assert (summary.done, summary.remaining, summary.interrupted) == (1, 1, True)


def test_what_keeps_a_run_from_starting_is_raised_and_leaves_nothing(workspace, run):
    workspace.manifest({"deep": workspace.stack("deep", dtype="uint16")})
    with pytest.raises(PlanError, match=r"(?s)pairs\.csv:2 deep: .*jpg.*nothing was started"):
        run(DIRECT.overlaid({"format": "jpg"}))
    with pytest.raises(OptionError, match="unknown method 'dirct'"):
        run(RunOptions(methods=("dirct",)))
    (workspace.root / "pairs.csv").write_text("id,back,front\nx,no.png,no.png\n")
    with pytest.raises(ManifestError, match=r"pairs\.csv:2:2 back: file not found"):
        run()
    assert workspace.outputs("out") == {}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"scheduler": "tcp://x:1", "workers": 2}, "--workers is for the embedded cluster"),
        ({"scheduler": "tcp://x:1", "scheduler_file": Path("s.json")}, "not both"),
        ({"scheduler": "tcp://x:1", "tls_key": Path("key.pem")}, "together"),
    ],
)
def test_contradicting_cluster_options_are_refused(settings, message):
    with pytest.raises(OptionError, match=message):
        ClusterOptions(**settings)


def test_the_guide_does_what_it_says(workspace):
    workspace.manifest({name: workspace.stack(name) for name in ("first", "second")})
    told = []
    for number, code in enumerate(re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)):
        script = workspace.root / f"guide{number}.py"
        script.write_text(code)
        told.append(script_output(workspace, script))
    assert "2 done, 0 skipped" in told[0]
    assert "first {'focus_stacked_bayesian': " in told[0]
    assert (workspace.root / "out" / "first" / "depth_map.tif").exists()
    assert told[1].splitlines() == [
        "['first', 'second']",
        "2 stacks",
        "first: focus_stacked_direct",
        "second: focus_stacked_direct",
    ]
    assert told[3] == "(2, 2, 300, 400) uint16 (1, 1, 128, 128)\n"


@pytest.mark.parametrize(
    "name", [name for name in batchstack.__all__ if isfunction(getattr(batchstack, name))]
)
def test_functions_do_what_their_examples_say(workspace, monkeypatch, name):
    workspace.manifest({name: workspace.stack(name) for name in ("first", "second")})
    monkeypatch.chdir(workspace.root)
    function = getattr(batchstack, name)
    (example,) = doctest.DocTestFinder(recurse=False).find(function, name)
    assert example.examples, "it has none"
    outcome = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
    assert outcome.failed == 0


def test_type_checkers_are_told_that_the_package_is_typed():
    assert (Path(batchstack.__file__).parent / "py.typed").exists()


def script_output(workspace, script, code=0):
    done = subprocess.run(
        [sys.executable, script],
        cwd=workspace.root,
        env=workspace.environment(),
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


def test_a_script_whose_workers_would_run_it_again_is_told_so(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    script = workspace.root / "careless.py"
    script.write_text(
        "import batchstack\n"
        "batchstack.run('pairs.csv', 'out', batchstack.RunOptions(methods=('direct',)),\n"
        "               batchstack.ClusterOptions(workers=1))\n"
    )
    said = script_output(workspace, script, code=1)
    assert "ClusterError: workers cannot be started" in said
    assert 'if __name__ == "__main__"' in said
    assert workspace.outputs("out") == {}


def test_importing_the_package_loads_nothing_and_offers_its_names():
    code = (
        "import sys, json, batchstack; before = set(sys.modules);"
        "print(json.dumps([sorted(name for name in before if '.' not in name),"
        "[type(getattr(batchstack, name)).__name__ for name in batchstack.__all__]]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded, kinds = json.loads(done.stdout)
    assert not {"dask", "distributed", "numba", "numpy", "cv2", "click"} & set(loaded)
    assert len(kinds) == len(batchstack.__all__)
    assert set(batchstack.__all__) <= set(dir(batchstack))
    with pytest.raises(AttributeError, match="sparkle"):
        batchstack.sparkle  # noqa: B018


def test_a_second_run_into_the_same_output_is_refused(one_bad, run):
    refusals = []

    def again(event):
        if isinstance(event, RunStarted):
            with pytest.raises(OutputInUseError) as refusal:
                run(RunOptions(methods=("direct",), fusion=FusionOptions(beta=1.0)))
            refusals.append(refusal)

    assert run(listener=again).done == 2
    assert len(refusals) == 1
