"""Frames unlike the others of their stack, pointed out by what they show."""

import cv2
import numpy as np
import pytest

from batchstack.fusion import fuse
from batchstack.images import write_image
from batchstack.scan.looks import focus_moves, look_at, odd_ones, show_one_scene
from batchstack.scenes import make_stack

BLURRED = "is less sharp all over than the frames beside it"
SHARP, STRANGE = "is sharp wherever any other frame is", "shows another scene"


def rendered(scene, count, seed=5):
    return list(make_stack((240, 320), frames=count, scene=scene, blur=4.0, seed=seed).frames)


@pytest.fixture
def odd(tmp_path):
    def found(frames):
        looks = []
        for index, frame in enumerate(frames):
            write_image(tmp_path / f"{index}.jpg", frame)
            looks.append(look_at(tmp_path / f"{index}.jpg"))
        return {index: how.partition(",")[0] for index, how in odd_ones(looks).items()}

    return found


@pytest.mark.parametrize("scene", ["slant", "blob", "hair"])
@pytest.mark.parametrize("count", [3, 7])
def test_an_old_result_is_found_wherever_it_stands_and_frames_are_not(odd, scene, count):
    frames = rendered(scene, count)
    assert odd(frames) == {}
    result = fuse(frames, ["bayesian"])["focus_stacked_bayesian"]
    for place in (0, 1, count):
        assert odd([*frames[:place], result, *frames[place:]]) == {place: SHARP}


@pytest.mark.parametrize("place", [0, 2, 5])
def test_a_frame_of_another_scene_is_found(odd, place):
    frames, stranger = rendered("slant", 5), rendered("blob", 3, seed=9)[1]
    found = odd([*frames[:place], stranger, *frames[place:]])
    assert {index: how.partition(" than")[0] for index, how in found.items()} == {place: STRANGE}


@pytest.mark.parametrize("scene", ["slant", "lace", "hair"])
@pytest.mark.parametrize("place", [1, 4, 7])
def test_a_frame_that_is_out_of_focus_is_found(odd, scene, place):
    frames = rendered(scene, 9)
    frames[place] = cv2.GaussianBlur(frames[place], (0, 0), 4)
    assert odd(frames) == {place: BLURRED}


def test_of_pairs_and_bursts_nothing_is_said(odd):
    frames = rendered("slant", 4)
    assert odd(frames[:2]) == {}
    assert odd([frames[1]] * 4) == {}


@pytest.mark.parametrize(
    ("dtype", "white"), [("uint16", 4095), ("uint16", 1023), ("float32", 1023)]
)
def test_code_values_are_seen_like_others(tmp_path, dtype, white):
    frames = rendered("slant", 5)
    frames.append(fuse(frames, ["bayesian"])["focus_stacked_bayesian"])
    brightest = max(int(frame.max()) for frame in frames)

    def seen(index, share, dtype=dtype):
        pixels = frames[index] * (share * white / brightest) if share else frames[index]
        write_image(tmp_path / f"{index}.tif", pixels.astype(dtype))
        return look_at(tmp_path / f"{index}.tif")

    # One frame uses two bits less than the others, and is nearly as bright.
    looks = [seen(n, 0.24 if n == 1 else 0.27) for n in range(6)]
    assert looks[1].white < looks[0].white
    assert odd_ones(looks[:5]) == {}
    assert list(odd_ones(looks)) == [5]
    assert focus_moves(looks[:5])
    for index in range(5):
        one, other = seen(index, 1.0), seen(index, None, "uint8")
        assert show_one_scene(one, other)
        assert not focus_moves([one, other])


@pytest.mark.parametrize("mark", [np.nan, np.inf, -np.inf, 1e38, -1e38])
def test_what_is_no_brightness_spoils_no_look(tmp_path, mark):
    frame = rendered("slant", 2)[0].astype(np.float32) / 255
    for rows in (20, 240):
        frame[:rows] = mark
        write_image(tmp_path / "a.tif", frame)
        look = look_at(tmp_path / "a.tif")
        assert look.white == 1.0
        assert np.isfinite(look.scene).all() and np.isfinite(look.sharpness).all()


def test_check_points_out_what_it_has_looked_at(workspace):
    frames = rendered("slant", 4)
    frames.append(fuse(frames, ["bayesian"])["focus_stacked_bayesian"])
    for index, frame in enumerate(frames):
        write_image(workspace.root / "shoot" / f"f{index}.jpg", frame)
    (workspace.root / "m.csv").write_text("id,frames\ns,shoot\n")
    assert "sharp" not in workspace.run("check", "m.csv").stderr
    said = workspace.run("check", "m.csv", "--look").stderr
    assert f"warning: m.csv:2 s: {workspace.root / 'shoot' / 'f4.jpg'}: {SHARP}" in said
    cut = workspace.root / "shoot" / "f1.jpg"
    cut.write_bytes(cut.read_bytes()[:700])
    assert f"warning: m.csv:2 s: {cut}: is damaged" in (
        workspace.run("check", "m.csv", "--look").stderr
    )
