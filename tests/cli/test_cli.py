"""The command line: output, messages and exit codes."""

import json
import subprocess
import sys

import numpy as np
import pytest

from batchstack.cli.main import COMMANDS
from batchstack.fusion import METHODS, fuse
from batchstack.images import read_image

ORIGINALS = {
    "focus_stacked_by_channel",
    "focus_stacked_all_channels",
    "focus_stacked_new_method",
    "blending_mask",
    "focus_stacked_direct",
}


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_fuse_writes_the_originals_files_into_the_folder(workspace, suffix):
    back, front = workspace.stack("s", shape=(61, 83), suffix=suffix)
    said = workspace.run("fuse", "--back", back, "--front", front, "--output", "out").stdout
    assert set(workspace.outputs("out")) == {f"{name}{suffix}" for name in ORIGINALS}
    assert len(said.splitlines()) == 5
    if suffix != ".jpg":
        frames = [read_image(workspace.root / path) for path in (back, front)]
        for name, expected in fuse(frames).items():
            if name in ORIGINALS:
                written = read_image(workspace.root / "out" / f"{name}{suffix}")
                np.testing.assert_array_equal(written, expected)


def test_fuse_takes_frames_as_arguments(workspace):
    frames = workspace.stack("s", n_frames=4)
    workspace.run("fuse", "-o", "out", "--methods", "direct", *frames)
    assert set(workspace.outputs("out")) == {"focus_stacked_direct.png"}


@pytest.mark.parametrize("text", ["a: [", "- a list", "logging: 7"])
def test_a_configuration_that_dask_cannot_read_is_told_by_name(workspace, monkeypatch, text):
    config = workspace.root / "settings" / "cluster.yaml"
    config.parent.mkdir()
    config.write_text(text)
    frames = workspace.stack("s")
    workspace.manifest({"s": frames})
    commands = [["run", "pairs.csv", "-o", "out"], ["doctor"]]
    monkeypatch.setenv("DASK_CONFIG", str(config.parent))
    for command in commands:
        said = workspace.run(*command, code=2).stderr
        assert f"{config.parent}" in said
        assert "Traceback" not in said
    assert workspace.outputs("out") == {}
    (workspace.root / "elsewhere").mkdir()
    monkeypatch.setenv("DASK_CONFIG", str(workspace.root / "elsewhere"))  # the remedy
    workspace.run("run", "pairs.csv", "-o", "out", "--methods", "direct", "--workers", 1)


@pytest.mark.parametrize("name", ["DASK_LOGGING", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT"])
def test_a_variable_that_dask_cannot_use_is_told_by_name(workspace, monkeypatch, name):
    workspace.manifest({"s": workspace.stack("s")})
    command = ["run", "pairs.csv", "-o", "out", "--methods", "direct", "--workers", 1]
    monkeypatch.setenv(name, "7 sheep")
    said = workspace.run(*command, code=2).stderr
    assert f"unset what is set of it here: {name}" in said
    assert "Traceback" not in said
    monkeypatch.delenv(name)  # the remedy
    workspace.run(*command)


def test_names_that_are_no_utf8_are_refused_with_a_remedy(workspace, monkeypatch):
    frames = workspace.stack("ü")
    for name, value in {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}.items():
        monkeypatch.setenv(name, value)
    said = workspace.run("fuse", "-o", "one", "--methods", "direct", *frames, code=2).stderr
    assert "PYTHONUTF8=1" in said
    monkeypatch.setenv("PYTHONUTF8", "1")
    workspace.run("fuse", "-o", "one", "--methods", "direct", *frames)


def test_fuse_refuses_a_frame_that_is_there_twice(workspace):
    back, front = workspace.stack("s")
    other = workspace.root / "other.png"
    other.hardlink_to(workspace.root / back)
    said = workspace.run("fuse", "-o", "one", back, front, "other.png", code=2).stderr
    assert "is the same file as" in said


def test_outputs_beside_the_frames_are_no_frames(workspace):
    frames = workspace.stack("s")
    direct = ["--methods", "direct"]
    workspace.run("fuse", "-o", "frames", *direct, *frames)
    beside = workspace.outputs("frames")
    output = "frames/focus_stacked_direct.png"
    said = workspace.run("fuse", "-o", "two", *direct, *frames, output).stderr
    assert f"{output}: is named like an output" in said
    (workspace.root / "m.csv").write_text("id,frames\nframes,frames/*.png\n")
    for expected in ("1 done", "up to date"):
        assert expected in workspace.run("run", "m.csv", "-o", ".", "--workers", 0, *direct).stderr
    assert workspace.outputs("frames") == beside


def test_fuse_applies_resize_when_asked(workspace):
    back = workspace.stack("a", shape=(60, 80))[0]
    front = workspace.stack("b", shape=(30, 40))[1]
    said = workspace.run("fuse", "--back", back, "--front", front, "-o", "out", code=1).stderr
    assert "b_1.png" in said
    assert "--resize" in said
    workspace.run("fuse", "--back", back, "--front", front, "-o", "out", "--resize")
    assert read_image(workspace.root / "out/blending_mask.png").shape == (60, 80)


def test_fuse_resizes_frames_of_longer_stacks_too(workspace):
    frames = [workspace.stack("a", shape=(60, 80))[0]]
    frames += workspace.stack("b", shape=(30, 40))
    workspace.run("fuse", "-o", "out", "--resize", "--methods", "direct", *frames)
    assert read_image(workspace.root / "out/focus_stacked_direct.png").shape == (60, 80, 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fuse", "-o", "out"], "--back and --front"),
        (["fuse", "-o", "out", "--back", "BACK"], "--back and --front"),
        (["fuse", "-o", "out", "BACK", "FRONT", "--methods", "dirct"], "did you mean 'direct'?"),
        (["fuse", "-o", "out", "BACK", "FRONT", "--levels", "0"], "levels is 0"),
        (["fuse", "-o", "out", "BACK", "FRONT", "--kernel", "4"], "kernel is 4"),
        (["fuse", "-o", "out", "BACK", "FRONT", "--median-sizes", "3,5"], "2 values for 5 levels"),
        (["fuse", "-o", "out", "BACK", "FRONT", "--tile", "0"], "tile is 0"),
        (["fuse", "-o", "out", "BACK", "FRONT", "--quality", "0"], "quality is 0"),
        (["run", "none.csv", "-o", "out"], "none.csv"),
        (["run", "BACK", "-o", "out"], "unknown kind of manifest"),
        (["run", "pairs.csv", "-o", "out", "--memory-limit", "much"], "4GiB"),
        (["run", "pairs.csv", "-o", "out", "--memory-limit", "1MiB"], "--memory-limit"),
        (["run", "pairs.csv", "-o", "out", "--scheduler", "x", "--workers", "2"], "--workers"),
        (["run", "pairs.csv", "-o", "out", "--scheduler", "x", "--tls-key", "BACK"], "together"),
        (["status", "."], "no run has written here"),
        (["nonsense"], "unknown command 'nonsense'; known are scan, run, check"),
        (["rnu", "pairs.csv", "-o", "out"], "unknown command 'rnu'; did you mean 'run'?"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_what_cannot_work_is_refused_before_anything_starts(workspace, arguments, message):
    back, front = workspace.stack("s")
    workspace.manifest({"s": [back, front]})
    names = {"BACK": back, "FRONT": front}
    done = workspace.run(*(names.get(part, part) for part in arguments), code=2)
    assert message in done.stderr
    assert workspace.outputs("out") == {}
    assert "Traceback" not in done.stderr


def test_a_bad_manifest_is_reported_whole_and_nothing_starts(workspace):
    (workspace.root / "pairs.csv").write_text(
        "id,back,front,colour\n../x,a.jpg,b.jpg,red\nsame,a.jpg,a.jpg,\nSame,a.jpg,b.jpg,\n"
    )
    said = workspace.run("run", "pairs.csv", "-o", "out", code=2).stderr
    for part in ("pairs.csv:1:4", "pairs.csv:2:1", "pairs.csv:2:2", "pairs.csv:4:1"):
        assert part in said
    assert not (workspace.root / "out").exists()


def test_check_writes_nothing_and_tells_the_plan(workspace):
    workspace.manifest(
        {
            "good": workspace.stack("good"),
            "bad": [workspace.stack("a")[0], workspace.stack("b", shape=(9, 9))[1]],
        }
    )
    done = workspace.run("check", "pairs.csv", "-o", "out", code=1)
    assert done.stdout.splitlines()[0].startswith("fuse    good: not done yet")
    assert done.stdout.splitlines()[1].startswith("refuse  bad: ")
    assert not (workspace.root / "out").exists()
    plan = [
        json.loads(line)
        for line in workspace.run("check", "pairs.csv", "--json", code=1).stdout.splitlines()
    ]
    assert [step["action"] for step in plan] == ["fuse", "refuse"]


def test_methods_lists_all_with_their_files(workspace):
    said = workspace.run("methods").stdout
    for method in METHODS.values():
        assert method.name in said
        assert all(output in said for output in method.outputs)
    assert len(workspace.run("methods", "--json").stdout.splitlines()) == len(METHODS)


def test_doctor_finds_two_opencvs(workspace):
    assert "no problems" in workspace.run("doctor").stdout
    second = workspace.root / "opencv_python-4.0.0.dist-info"
    second.mkdir()
    (second / "METADATA").write_text("Metadata-Version: 2.1\nName: opencv-python\nVersion: 4.0\n")
    said = workspace.run("doctor", code=1).stdout
    assert "opencv-python and opencv-python-headless are both installed" in said


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_says_every_default_and_loads_no_cluster(command):
    code = (
        "import sys; from batchstack.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'distributed', 'cv2', 'numba', 'rich', 'skimage'} & set(sys.modules)))"
    )
    arguments = [part for part in (command, "--help") if part]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    assert "Usage:" in done.stdout
    loaded = done.stdout.splitlines()[-1]
    assert "distributed" not in loaded
    assert "rich" not in loaded
    if not command:
        assert loaded == "[]"


def test_fusing_one_stack_loads_neither_numba_nor_dask_once_kernels_are_kept(workspace):
    back, front = workspace.stack("s")
    code = (
        "import sys; from batchstack.cli.main import main\n"
        "try: main()\n"
        "except SystemExit as end: print(end.code)\n"
        "print(sorted({'numba', 'dask', 'distributed', 'rich', 'skimage'} & set(sys.modules)))"
    )
    for align in ("off", "auto"):
        fuse = ["fuse", "--back", back, "--front", front, "-o", "o", "--methods"]
        fuse += ["bayesian,median_mask", "--align", align]
        for _ in range(2):
            done = subprocess.run(
                [sys.executable, "-c", code, *fuse],
                cwd=workspace.root,
                capture_output=True,
                text=True,
                check=True,
            )
        assert done.stdout.splitlines()[-2:] == ["0", "[]"]
        assert "compiling" not in done.stderr


def test_check_does_not_load_dask(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    code = (
        "import sys; from batchstack.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "assert not {'dask', 'distributed'} & set(sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, "check", "pairs.csv"], cwd=workspace.root, check=True
    )
