"""Frames that do not fit together, or that people should look at, by their headers alone."""

import re
import shutil
import subprocess
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from batchstack.batch.frame_checks import are_close, check_frames, common_size, oddities
from batchstack.errors import StackError
from batchstack.images import ImageInfo, cropped, probe, read_image, write_image
from batchstack.images.info import Shot
from tests.images.samples import exif_block, jpeg_bytes, photo, png_chunk
from tests.images.sources import insert
from tests.scenes import stack


def frame(name, height=60, width=80, **more):
    return ImageInfo(Path("/d") / name, "png", height, width, 3, "uint8", **more)


def refusal(*frames, resize=False, crop=False):
    with pytest.raises(StackError) as caught:
        check_frames(frames, resize=resize, crop=crop)
    return str(caught.value)


@pytest.mark.parametrize("resize", [False, True])
@pytest.mark.parametrize("crop", [False, True])
@pytest.mark.parametrize(
    ("orientations", "sides"),
    [((1, 3), (60, 80)), ((1, 2), (60, 80)), ((6, 8), (80, 60)), ((1, 6), (70, 70))],
)
def test_orientations_that_differ_are_named_whatever_is_asked_for(
    orientations, sides, resize, crop
):
    one, two = (frame(f"{value}.png", *sides, orientation=value) for value in orientations)
    said = refusal(one, two, resize=resize, crop=crop)
    assert f"has orientation {two.orientation}, {one.path.name} has {one.orientation}" in said
    assert "--" not in said


@pytest.mark.parametrize("resize", [False, True])
def test_a_turned_frame_is_never_stretched(resize):
    stored_alike = frame("a.png"), frame("b.png", 80, 60, orientation=6)
    assert "has orientation 6" in refusal(*stored_alike, resize=resize)
    for side in (frame("b.png", 80, 60), frame("b.png", 120, 90)):
        said = refusal(frame("a.png"), side, resize=resize)
        assert "lies on its side" in said
        assert "--" not in said


def test_frames_turned_the_right_way_up_by_their_orientation_fit():
    check_frames((frame("a.png"), frame("b.png", orientation=6)), resize=False, crop=False)


@pytest.mark.parametrize(
    ("first", "second", "advice"),
    [
        ((4000, 6000), (3996, 5990), "--crop-to-common"),
        ((4000, 6000), (4000, 5999), "--crop-to-common"),
        ((600, 800), (588, 790), None),  # a few pixels, but too many of so small a side
        ((4000, 6000), (2000, 3000), "--resize"),
        ((4000, 6000), (4000, 5000), None),
    ],
)
def test_the_advice_is_what_makes_a_right_picture(first, second, advice):
    said = refusal(frame("a.png", *first), frame("b.png", *second))
    assert re.findall("--[a-z-]+", said) == ([advice] if advice else [])
    assert "/d/b.png: is" in said


def test_only_close_sizes_are_cropped():
    close = frame("a.png", 1000, 800), frame("b.png", 991, 800), frame("c.png", 1000, 793)
    check_frames(close, resize=False, crop=True)
    assert common_size(close) == (991, 793)
    far = (*close, frame("d.png", 990, 800))
    assert not are_close(far)
    assert "give frames of one size" in refusal(*far, crop=True)
    assert "--crop-to-common takes sides that differ by less than 1%" in refusal(*far, crop=True)
    assert "--crop-to-common takes" not in refusal(*far)


def test_the_middle_is_cropped():
    pixels = np.arange(7 * 6).reshape(7, 6).astype(np.uint8)
    np.testing.assert_array_equal(cropped(pixels, (5, 3)), pixels[1:6, 1:4])
    assert cropped(pixels, (5, 3)).flags.c_contiguous
    assert not np.shares_memory(cropped(pixels, (5, 6)), pixels)


@pytest.mark.skipif(not shutil.which("exiftool"), reason="needs exiftool")
def test_the_remedy_for_an_orientation_is_one(workspace):
    for name, orientation in (("a.jpg", 1), ("b.jpg", 3)):
        exif = b"Exif\0\0" + exif_block(orientation)
        (workspace.root / name).write_bytes(jpeg_bytes(photo(), exif=exif))
    workspace.manifest({"s": ["a.jpg", "b.jpg"]})
    said = workspace.run("check", "pairs.csv", code=1).stdout
    command = re.search("exiftool -n -Orientation=1 b.jpg", said)[0]
    subprocess.run(command, shell=True, cwd=workspace.root, check=True, capture_output=True)
    assert "fuse" in workspace.run("check", "pairs.csv").stdout


@pytest.mark.parametrize("n_frames", [2, 3])
def test_close_frames_are_cropped_about_the_centre_and_the_option_is_recorded(workspace, n_frames):
    frames = stack((224, 306), n_frames)
    boxes = [np.s_[:, :], np.s_[1:223, 1:305], np.s_[:, 1:305]]
    for number, (pixels, box) in enumerate(zip(frames, boxes, strict=False)):
        write_image(workspace.root / f"f{number}.png", pixels[box])
        write_image(workspace.root / f"same{number}.png", pixels[1:223, 1:305])
    names = [f"f{number}.png" for number in range(n_frames)]
    workspace.manifest({"s": names, "same": [name.replace("f", "same") for name in names]})
    run = ("run", "pairs.csv", "-o", "out", "--workers", "0", "--methods", "direct")
    run = (*run, "--align", "off")
    assert "--crop-to-common" in workspace.run(*run, code=1).stderr
    workspace.run(*run, "--crop-to-common")
    name = "focus_stacked_direct.png"
    one, other = (read_image(workspace.root / "out" / one / name) for one in ("s", "same"))
    np.testing.assert_array_equal(one, other)
    assert "2 skipped" in workspace.run(*run, "--crop-to-common").stderr
    workspace.run(*run, code=1)


def shots(*times, names=None):
    return [
        frame(names[i] if names else f"f{i}.png", shot=Shot(time and f"2024:05:01 12:00:{time}"))
        for i, time in enumerate(times)
    ]


@pytest.mark.parametrize(
    "times",
    [
        ("01", "02", "03"),
        ("03", "02", "01"),
        ("01", "01", "01"),
        ("01", "01.5", "02"),
        ("02", None),
    ],
)
def test_frames_in_their_order_or_against_it_are_not_odd(times):
    assert oddities(shots(*times)) == ()


def test_a_full_counter_is_told_by_time():
    names = ["_1.png", "_2.png", "_9998.png", "_9999.png"]
    (said,) = oddities(shots("03", "04", "01", "02", names=names))
    assert "/d/_9998.png: was taken at 2024:05:01 12:00:01, _2.png before it" in said


@pytest.mark.parametrize(
    ("names", "odd"),
    [
        (["DSC_0001", "DSC_0002", "DSC_9998", "DSC_9999"], "DSC_9998"),
        (["P5010001", "P5019999"], "P5019999"),
        (["DSC_9999", "DSC_9998", "DSC_0001"], "DSC_0001"),
        (["DSC_9998", "DSC_9999", "DSC_0001"], None),  # in the right order
        (["DSC_0001", "DSC_0002", "DSC_0900"], None),
        (["a_0001", "b_9999"], None),
        (["back", "front"], None),
    ],
)
def test_a_full_counter_is_told_by_names_where_there_are_no_times(names, odd):
    found = oddities([frame(f"{name}.jpg") for name in names])
    assert [text.partition(":")[0] for text in found] == ([f"/d/{odd}.jpg"] if odd else [])


@pytest.mark.parametrize(("digits", "prefix"), [(4, "IMG_"), (5, "IMG_"), (4, "DSC0")])
@pytest.mark.parametrize("times", [("04", "04", "03", "03"), ("03",) * 4])
def test_a_full_counter_is_told_where_times_are_whole_seconds(digits, prefix, times):
    numbers = (1, 2, 10**digits - 2, 10**digits - 1)
    names = [f"{prefix}{number:0{digits}}" for number in numbers]
    (said,) = oddities(shots(*times, names=names))
    assert f"{names[2]}: follows {names[1]}, though" in said
    backwards = oddities(shots(*times[::-1], names=names[::-1]))
    assert len(backwards) == 1
    # They may as well be taken in this order.
    assert oddities(shots("01", "01", "02", "02", names=names)) == ()


def test_a_stacked_picture_among_frames_is_told_unless_all_are():
    made = Shot(made_of="was stacked in the camera, says its maker note")
    some = [frame("a.jpg"), frame("b.jpg"), frame("c.jpg", shot=made)]
    (said,) = oddities(some)
    assert said.startswith("/d/c.jpg: was stacked in the camera")
    assert oddities([frame("a.jpg", shot=made), frame("b.jpg", shot=made)]) == ()


def test_what_is_odd_is_said_once_by_check_and_run(workspace):
    for number in (1, 2, 9999):
        write_image(workspace.root / f"DSC_{number:04}.png", stack((60, 80), 1)[0])
    (workspace.root / "m.csv").write_text("id,frames\ns,DSC_*.png\n")
    told = f"warning: m.csv:2 s: {workspace.root}/DSC_9999.png: follows DSC_0002.png"
    assert workspace.run("check", "m.csv").stderr.count(told) == 1
    methods = ("--workers", "0", "--methods", "direct")
    assert workspace.run("run", "m.csv", "-o", "out", *methods).stderr.count(told) == 1


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_grey_that_states_nothing_does_not_hide_two_that_do_not_agree(tmp_path, order):
    names = ("none.png", "linear.png", "power.png")
    for name, value in zip(names, (None, 100000, 45455), strict=True):
        Image.fromarray(photo(channels=1)).save(tmp_path / name)
        if value:
            insert(tmp_path / name, png_chunk(b"gAMA", value.to_bytes(4)))
    frames = [probe(tmp_path / names[at]) for at in order]
    assert "its colours mean something else" in refusal(*frames)
    check_frames(frames[:1] * 3, resize=False, crop=False)
