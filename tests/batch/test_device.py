"""Transforms of a device: measured over stacks, kept in a file, and used for all of them."""

import json

import numpy as np
import pytest

from batchstack.batch.device import combined, load_device_set
from batchstack.errors import OptionError, StackError
from batchstack.images import read_image, write_image
from batchstack.registration import Transform
from batchstack.scenes import Camera, make_stack

SHAPE = (300, 360)
MOVE = Camera(breathing=0.012, shift=(3.0, -2.0), noise=1.0)
STILL = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]
NEAR = [1.01, 0.0, -2.0, 0.0, 1.01, -1.5]
GOOD = {
    "format": "batchstack transforms",
    "version": 1,
    "size": {"height": SHAPE[0], "width": SHAPE[1]},
    "frames": [{"matrix": STILL}, {"matrix": NEAR}],
}
FUSED = "focus_stacked_all_channels.png"


def written(folder, **changes):
    path = folder / "transforms.json"
    path.write_text(json.dumps(GOOD | changes))
    return path


def run(workspace, output, *options):
    methods = ("--methods", "all_channels")
    return workspace.run("run", "pairs.csv", "-o", output, "--workers", 0, *methods, *options)


def jittered(rng, scale=0.05):
    shift = rng.normal(0, scale, 2)
    return (1.01, 0.0, -2.0 + shift[0], 0.0, 1.01, -1.5 + shift[1])


def test_stacks_are_averaged_and_outliers_named():
    rng = np.random.default_rng(3)
    stacks = {f"s{i}": (Transform(), Transform(jittered(rng), "similarity")) for i in range(12)}
    stacks["bumped"] = (Transform(), Transform((1.01, 0, 7.0, 0, 1.01, -1.5), "similarity"))
    stacks["blank"] = (Transform(), Transform(note="not aligned: too little common detail"))
    found = combined(stacks, SHAPE)
    np.testing.assert_allclose(found.matrices, [STILL, NEAR], atol=0.05)
    assert found.outliers == {"bumped": pytest.approx(9.0, abs=0.2)}
    assert found.n_stacks == 13
    assert found.errors[0] == 0 and 0.005 < found.errors[1] < 0.05


def test_stacks_may_have_different_references():
    forward = (Transform(), Transform(tuple(NEAR), "similarity"))
    back = np.linalg.inv(np.vstack([np.reshape(NEAR, (2, 3)), [0, 0, 1]]))[:2].ravel()
    backward = (Transform(tuple(back.tolist()), "similarity"), Transform())
    found = combined({"a": forward, "b": backward}, SHAPE)
    np.testing.assert_allclose(found.matrices, [STILL, NEAR], atol=1e-9)


def test_one_stack_is_as_uncertain_as_its_own_measurement():
    found = combined({"a": (Transform(), Transform(tuple(NEAR), "similarity", error=0.2))}, SHAPE)
    assert found.errors == [0.0, 0.2]


def test_a_frame_that_no_stack_knows_is_named():
    lost = Transform(note="not aligned: too little common detail")
    with pytest.raises(StackError, match="frame 2 could be aligned in no stack"):
        combined({"a": (Transform(), lost)}, SHAPE)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, '"format" is not "batchstack transforms"'),
        ({"version": 2}, "has version 2 of the format, this batchstack reads version 1"),
        ({"size": {"height": 300}}, '"size" is not a height and a width in whole pixels'),
        ({"size": [300, 360]}, '"size" is not a height and a width'),
        ({"frames": [{"matrix": STILL}]}, '"frames" is not a list of two or more'),
        ({"frames": [{"matrix": STILL}, {"matrix": [1, 2]}]}, 'frame 2: "matrix" is not a list'),
        ({"frames": [{"matrix": STILL}, {"matrix": [*STILL[:5], "0"]}]}, "finite numbers"),
        ({"frames": [{"matrix": STILL}, {"matrix": [*STILL[:5], float("nan")]}]}, "finite numbers"),
        ({"frames": [{"matrix": STILL}, {"matrix": [3, 0, 0, 0, 3, 0]}]}, "frame 2: the area"),
        ({"frames": [{"matrix": STILL}, {"matrix": [0, 1, 0, -1, 0, 299]}]}, "45 degrees"),
    ],
)
def test_a_file_that_is_no_set_of_transforms_is_refused(tmp_path, changes, message):
    with pytest.raises(OptionError) as refusal:
        load_device_set(written(tmp_path, **changes))
    assert "transforms.json: " in str(refusal.value) and message in str(refusal.value)
    assert "batchstack align" in str(refusal.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe"])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    path = tmp_path / "transforms.json"
    path.write_bytes(content)
    with pytest.raises(OptionError, match=r"transforms\.json: is not"):
        load_device_set(path)


def test_a_set_is_measured_once_and_gives_all_stacks_one_crop(workspace, files):
    rendered = {
        name: make_stack(SHAPE, scene=scene, blur=3.0, seed=seed, camera=MOVE)
        for seed, (name, scene) in enumerate({"a": "hair", "b": "blob", "c": "slant"}.items())
    }
    files(**rendered)
    measured = workspace.run("align", "pairs.csv", "-o", "transforms.json")
    assert "2 frames measured over 3 stacks" in measured.stderr
    device = load_device_set(workspace.root / "transforms.json")
    corners = np.array([(x, y, 1) for x in (0, SHAPE[1]) for y in (0, SHAPE[0])]).T
    apart = (device.transforms[1].array - rendered["a"].warps[1]) @ corners
    assert np.abs(apart).max() < 0.3
    # The same of a camera of 12 bits, whose white is found and said.
    coded = make_stack(SHAPE, scene="hair", blur=3.0, seed=0, camera=MOVE)
    for index, frame in enumerate(coded.frames):
        write_image(workspace.root / f"deep{index}.tif", frame.astype(np.uint16) * 16)
    (workspace.root / "deep.csv").write_text("id,frames\nd,deep0.tif|deep1.tif\n")
    said = workspace.run("align", "deep.csv", "-o", "deep.json").stderr
    assert "warning: deep.csv:2 d: its frames use 12 of 16 bits, so 4095 is taken for white" in said
    (workspace.root / "eight.csv").write_text("id,frames\nd,frames/a0.png|frames/a1.png\n")
    workspace.run("align", "eight.csv", "-o", "eight.json")
    found = [load_device_set(workspace.root / f"{name}.json") for name in ("deep", "eight")]
    deep, eight = (one.transforms[1].array @ corners for one in found)
    assert np.abs(deep - eight).max() < 0.01
    # One more stack, which tells nothing of itself.
    blank = np.full((*SHAPE, 3), 90, np.uint8)
    files(blank=type(rendered["a"])((blank, blank), blank, blank, ()), **rendered)
    run(workspace, "out", "--transforms", "transforms.json")
    shapes = {
        read_image(workspace.root / "out" / name / FUSED).shape for name in (*rendered, "blank")
    }
    assert len(shapes) == 1 and shapes != {(*SHAPE, 3)}
    # A run with other transforms does them anew, one with the same does not.
    assert "4 skipped" in run(workspace, "out", "--transforms", "transforms.json").stderr
    written(workspace.root)
    assert "4 done" in run(workspace, "out", "--transforms", "transforms.json").stderr


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames": GOOD["frames"] * 2}, "has 2 frames, transforms.json has transforms for 4"),
        (
            {"size": {"height": 200, "width": 360}},
            "has frames of 360x300 pixels, transforms.json is for 360x200 pixels",
        ),
    ],
)
def test_a_stack_of_another_kind_is_refused(workspace, files, changes, message):
    files(s=make_stack(SHAPE, blur=3.0))
    written(workspace.root, **changes)
    done = workspace.run(
        "check", "pairs.csv", "--transforms", "transforms.json", "--methods", "direct", code=1
    )
    assert f"refuse  s: {message}" in done.stdout


@pytest.mark.parametrize("other", [("--align", "off"), ("--reference", "last")])
def test_given_transforms_leave_nothing_to_choose(workspace, files, other):
    files(s=make_stack(SHAPE, blur=3.0))
    written(workspace.root)
    said = workspace.run(
        "check", "pairs.csv", "--transforms", "transforms.json", *other, code=2
    ).stderr
    assert "transforms are given, " in said and "give the one or the other" in said
