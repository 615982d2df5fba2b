"""Registration against known transforms, and warps that do not know about tiles."""

import pickle
from collections.abc import Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage import data
from skimage.transform import warp as resampled

from batchstack import scenes
from batchstack.errors import OptionError, StackError
from batchstack.geometry import Box
from batchstack.registration import (
    BETWEEN,
    Light,
    Transform,
    blocks,
    choose_reference,
    compare_light,
    estimation,
    fits,
    views,
    warp,
)

Image = npt.NDArray[Any]
SHAPE = (420, 520)
MARGIN = 60
BREATHING = (1.015, -0.002, -3.1, 0.002, 1.015, -6.4)


@cache
def canvas() -> Image:
    """A scene larger than the frames, so that moved frames show more of it, not a border."""
    photo = data.astronaut()
    wide = np.concatenate([photo, photo[:, ::-1]], axis=1)
    scene = cv2.resize(wide, None, fx=1.1, fy=1.1, interpolation=cv2.INTER_CUBIC)
    return scene[: SHAPE[0] + 2 * MARGIN, : SHAPE[1] + 2 * MARGIN]


def shot(matrix: Sequence[float], sharp: slice, noise: float = 0, light: float = 1) -> Image:
    """The scene in focus in some columns only, seen by a camera moved by `matrix`."""
    linear = (canvas() / np.float32(255)) ** np.float32(2.2)  # a lens blurs light
    scene = cv2.blur(cv2.blur(linear, (7, 7)), (7, 7))
    scene[:, sharp] = linear[:, sharp]
    # Pixel p of the reference shows scene pixel p + MARGIN and is pixel `matrix` p of the frame.
    move = np.vstack([np.reshape(matrix, (2, 3)), [0, 0, 1]])
    move[:2, 2] -= move[:2, :2] @ [MARGIN, MARGIN]
    seen = resampled(scene, np.linalg.inv(move), output_shape=SHAPE, order=3)
    frame = 255 * np.clip(seen, 0, 1) ** (1 / 2.2) * light
    frame += noise * np.random.default_rng(3).standard_normal(frame.shape)
    return np.clip(np.rint(frame), 0, 255).astype(np.uint8)


def pair(matrix: Sequence[float], noise: float = 0, light: float = 1) -> tuple[Image, Image]:
    reference = shot(warp.IDENTITY, slice(None, 320), noise and 0.9 * noise)
    return reference, shot(matrix, slice(320, None), noise, light)


def corner_error(found: Transform, matrix: Sequence[float]) -> float:
    corners = [(x, y, 1) for x in (0, SHAPE[1] - 1) for y in (0, SHAPE[0] - 1)]
    apart = (found.array - np.array(matrix).reshape(2, 3)) @ np.array(corners).T
    return float(np.hypot(*apart).max())


MOVES = {
    "translation": (1, 0, 5.3, 0, 1, -3.7),
    "similarity": BREATHING,
    "affine": (1.01, 0.004, -3.2, -0.003, 0.99, 2.6),
}


@pytest.mark.parametrize(("model", "matrix"), MOVES.items())
def test_each_model_finds_its_own_kind_of_move(model: Any, matrix: tuple[float, ...]) -> None:
    found = estimation.estimate(*pair(matrix), model=model)
    assert corner_error(found, matrix) < 0.15
    assert found.model == model and not found.note


@pytest.mark.parametrize(("kind", "matrix"), MOVES.items())
def test_auto_finds_every_move_with_the_fewest_freedoms_it_needs(kind: str, matrix: Any) -> None:
    found = estimation.estimate(*pair(matrix))
    assert corner_error(found, matrix) < 0.15
    assert found.model == ("affine" if kind == "affine" else "similarity")


MOVED = scenes.Camera(breathing=0.015, shift=(2.3, -1.7), rotation=0.05, noise=2.0, exposure_ev=0.2)


def rendered(
    back: str, front: str, shape: tuple[int, int] = (600, 800), **how: Any
) -> scenes.SyntheticStack:
    textures = scenes.sample_texture(back), scenes.sample_texture(front)
    how = {"camera": MOVED, "blur": 7.0} | how
    return scenes.make_stack(shape, textures=textures, **how)


def largest_error(
    frames: Sequence[Image], truth: Sequence[npt.NDArray[np.float64]], **how: Any
) -> float:
    """The largest distance of a corner from where it should be, of any frame."""
    corners = warp.corner_pixels(Box(0, 0, *frames[0].shape[:2]))
    found = estimation.estimate_stack(frames, **how)
    assert not any(transform.note for transform in found)
    return max(
        float(np.hypot(*(transform.array - matrix) @ corners).max())
        for transform, matrix in zip(found, truth, strict=True)
    )


def test_what_lies_behind_a_widely_blurred_foreground_is_aligned() -> None:
    """Outlines blurred on one side only would lead a fit of moves alone a pixel astray."""
    camera = scenes.Camera(breathing=-0.0011, shift=(-1.81, -3.94), rotation=0.058, noise=3.0)
    how = {"scene": "blob", "blur": 15.0, "seed": 876537, "camera": camera}
    shown = rendered("rocket", "grass", (900, 1200), **how)
    assert largest_error(shown.frames, shown.warps) < 0.2


@pytest.mark.parametrize("scene", ["blob", "slant"])
def test_blur_of_thirty_pixels_leaves_less_than_a_pixel(scene: str) -> None:
    """Grass is fine: judged on levels that such a blur has emptied, nothing would agree."""
    how = {"scene": scene, "blur": 30.0, "seed": 5}
    shown = rendered("grass", "immunohistochemistry", (900, 1200), **how)
    assert largest_error(shown.frames, shown.warps) < 1.0


def test_blur_is_not_taken_for_a_move() -> None:
    """Every block is a ring that only one frame blurs: all of it is blur and light, no move."""
    y, x = np.mgrid[-120:120, -160:160] / np.float32(20)
    sharp = 40 * np.exp(-((np.hypot(x, y) - 3) ** 2)).astype(np.float32)
    blurred = cv2.GaussianBlur(sharp, (0, 0), 4) * np.float32(1.1)
    points, sums = blocks.block_sums(sharp, blurred, 20, 6)
    seen = blocks.joined([(points, sums)], 20, 1)
    clear = seen.gradients[:, 0, 0] > np.median(seen.gradients[:, 0, 0])
    moves = seen.slopes[clear, 0] / seen.gradients[clear, 0, 0]
    alone = sums[clear, 10] / sums[clear, 0]
    assert np.abs(moves).mean() < 0.35 * np.abs(alone).mean()


def test_stacks_of_many_frames_do_not_add_up_errors() -> None:
    shown = rendered("grass", "coffee", (420, 560), frames=16, blur=9.0, scene="hair", seed=5)
    assert largest_error(shown.frames, shown.warps) < 0.15
    middle = np.vstack([shown.warps[8], [0, 0, 1]])
    relative = [(np.vstack([m, [0, 0, 1]]) @ np.linalg.inv(middle))[:2] for m in shown.warps]
    assert largest_error(shown.frames, relative, reference=8) < 0.15


PLACES = {"few": (25, 12.0), "many": (80, 20.0)}


@pytest.mark.parametrize(("count", "far"), PLACES.values(), ids=PLACES)
def test_highlights_that_move_do_not_lead_astray(count: int, far: float) -> None:
    shown = rendered("coffee", "chelsea", scene="hair", seed=7)
    rng = np.random.default_rng(count)
    at, moves = rng.uniform(40, [760, 560], (count, 2)), rng.uniform(-far, far, (count, 2))
    sizes = rng.uniform(2, 7, count)
    frames = [frame.copy() for frame in shown.frames]
    for index, frame in enumerate(frames):
        for place, size in zip(16 * (at + index * moves), 16 * sizes, strict=True):
            centre = (round(place[0]), round(place[1]))
            cv2.circle(frame, centre, round(size), (255, 255, 255), -1, cv2.LINE_AA, 4)
    assert largest_error(frames, shown.warps) < 0.15


@pytest.mark.parametrize("camera", [MOVED, scenes.Camera(shift=(1.5, -0.8), noise=2.0)])
def test_dust_on_the_sensor_does_not_hold_frames_where_they_are(camera: scenes.Camera) -> None:
    shown = rendered("coffee", "chelsea", scene="hair", seed=7, camera=camera)
    rng = np.random.default_rng(1)
    dust = np.ones((600, 800, 1), np.float32)
    for centre in rng.integers(0, [800, 600], (60, 2)).tolist():
        cv2.circle(dust, centre, int(rng.integers(3, 9)), float(rng.uniform(0.4, 0.85)), -1)
    frames = [np.rint(frame * cv2.blur(dust, (3, 3))[..., None]) for frame in shown.frames]
    frames = [frame.astype(np.uint8) for frame in frames]
    assert largest_error(frames, shown.warps) < 0.15


def test_faint_texture_under_noise_is_enough() -> None:
    camera = scenes.Camera(breathing=0.015, shift=(2.3, -1.7), rotation=0.05, dtype="float32")
    shown = rendered("grass", "immunohistochemistry", (900, 1200), seed=9, camera=camera)
    rng = np.random.default_rng(1)
    faint = [0.5 + 0.04 * (frame - 0.5) for frame in shown.frames]
    grainy = [255 * frame + rng.standard_normal(frame.shape) for frame in faint]
    frames = [np.rint(frame).astype(np.uint8) for frame in grainy]
    assert largest_error(frames, shown.warps) < 0.3


def test_noise_and_light_do_not_mislead() -> None:
    reference, frame = pair(BREATHING, noise=3, light=0.85)
    found = estimation.estimate(reference, frame)
    assert corner_error(found, BREATHING) < 0.3


def test_grey_and_deep_and_real_frames_give_the_same_transform() -> None:
    reference, frame = (image[..., 1] for image in pair(BREATHING))
    plain = estimation.estimate(reference, frame)
    assert corner_error(plain, BREATHING) < 0.2
    for one, other, full in (
        (reference.astype(np.uint16) * 257, frame.astype(np.uint16) * 257, None),
        (reference.astype(np.uint16) * 16, frame.astype(np.uint16) * 16, 255 * 16),
        (reference / np.float32(255), frame / np.float32(255), None),
    ):
        found = estimation.estimate(one, other, data_range=full)
        assert corner_error(found, plain.matrix) < 0.02


@pytest.mark.parametrize("light", [1, 0.85])
def test_registered_frames_stay_untouched(light: float) -> None:
    found = estimation.estimate(*pair(warp.IDENTITY, noise=2, light=light))
    assert found.is_identity and found.model == "identity" and not found.note


@pytest.mark.parametrize(("pixels", "model"), [(0.05, "identity"), (1.2, "similarity")])
def test_auto_leaves_slight_shifts_and_follows_clear_ones(pixels: float, model: str) -> None:
    matrix = (1, 0, pixels, 0, 1, 0)
    found = estimation.estimate(*pair(matrix))
    assert found.model == model
    assert corner_error(found, matrix) < 0.1


def test_a_blurred_outline_does_not_look_like_breathing() -> None:
    # Seen as code values, the bright foreground grows as it blurs, by 0.2 px at the corners.
    textures = scenes.sample_texture("coffee"), scenes.sample_texture("chelsea")
    moved = scenes.Camera(breathing=0.015, shift=(2.3, -1.7), rotation=0.05)
    scene = {"scene": "hair", "blur": 7.0, "seed": 21}
    stack = scenes.make_stack((900, 1200), textures=textures, camera=moved, **scene)
    found = estimation.estimate(*stack.frames)
    corners = warp.corner_pixels(Box(0, 0, 900, 1200))
    assert np.hypot(*(found.array - stack.warps[1]) @ corners).max() < 0.1


def test_off_moves_nothing() -> None:
    assert estimation.estimate(*pair(BREATHING), model="off").is_identity


def test_large_images_are_refined_on_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "WHOLE", 50_000)
    monkeypatch.setattr(views, "PATCH", 96)
    found = estimation.estimate(*pair(BREATHING))
    assert corner_error(found, BREATHING) < 0.2


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        ((0.8, 0, 50, 0, 0.8, 40), "scale"),
        ((1, 0, 130, 0, 1, 0), "shift"),
        ((0.974, -0.225, 50, 0.225, 0.974, -50), "rotation"),
    ],
)
def test_implausible_transforms_are_refused_with_the_reason(matrix: Any, reason: str) -> None:
    assert reason in estimation._implausible(
        np.vstack([np.reshape(matrix, (2, 3)), [0, 0, 1]]), SHAPE
    )


def test_frames_without_common_detail_stay_and_say_so() -> None:
    reference = canvas()[: SHAPE[0], : SHAPE[1]]
    blank = np.full_like(reference, 77)
    for frame in (blank, np.zeros_like(reference)):
        found = estimation.estimate(reference, frame)
        assert found.is_identity
        assert found.note.startswith("not aligned")
    noise = np.random.default_rng(0).integers(0, 256, reference.shape, np.uint8)
    unrelated = estimation.estimate(reference, noise)
    assert unrelated.is_identity


def test_a_result_that_agrees_less_than_before_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = fits.Fit((1, 0, 9, 0, 1, 4), error=0.01)
    monkeypatch.setattr(estimation, "_measure", lambda *_: wrong)
    found = estimation.estimate(*pair(warp.IDENTITY))
    assert found.is_identity
    assert "agreement" in found.note


class Frames(Sequence[Image]):
    """Frames made on demand that remember what was fetched."""

    def __init__(self, moves: Sequence[Sequence[float]]) -> None:
        self.moves, self.fetched = moves, list[int]()

    def __len__(self) -> int:
        return len(self.moves)

    def __getitem__(self, index: Any) -> Any:
        self.fetched.append(index)
        width = (SHAPE[1] + 2 * MARGIN) // len(self.moves)
        return shot(self.moves[index], slice(index * width, (index + 1) * width))


def breathing_stack(count: int) -> list[tuple[float, ...]]:
    scales = [1 + 0.006 * index for index in range(count)]
    return [(s, 0, 260 * (1 - s) + i, 0, s, 210 * (1 - s)) for i, s in enumerate(scales)]


@pytest.mark.parametrize("reference", [0, 2, 4])
def test_stacks_are_chained_to_any_reference(reference: int) -> None:
    moves = breathing_stack(5)
    frames = Frames(moves)
    found = estimation.estimate_stack(frames, reference=reference)
    whole = [np.vstack([np.reshape(move, (2, 3)), [0, 0, 1]]) for move in moves]
    for transform, matrix in zip(found, whole, strict=True):
        expected = (matrix @ np.linalg.inv(whole[reference]))[:2].ravel()
        assert corner_error(transform, expected) < 0.25
    assert found[reference].is_identity
    assert sorted(frames.fetched) == [0, 1, 2, 3, 4]


def test_a_blank_frame_does_not_break_the_chain() -> None:
    moves = breathing_stack(4)
    frames = [shot(move, slice(0, 500)) for move in moves]
    frames[2] = np.full_like(frames[2], 90)
    found = estimation.estimate_stack(frames)
    assert found[2].note.startswith("not aligned") and found[2].note.endswith(BETWEEN)
    assert corner_error(found[2], moves[2]) < 0.3  # evenly between its neighbours
    assert corner_error(found[3], moves[3]) < 0.2 and not found[3].note


def test_links_found_before_change_nothing() -> None:
    # A link must not depend on what its frames were compared with before.
    frames = [shot(move, slice(0, 500)) for move in breathing_stack(4)]
    links = [estimation.link(*frames[index : index + 2]) for index in range(3)]
    assert estimation.link_all(frames) == links
    for reference in (0, 2):
        with_links = estimation.estimate_stack(frames, reference=reference, links=links)
        moves = breathing_stack(4)
        whole = [np.vstack([np.reshape(move, (2, 3)), [0, 0, 1]]) for move in moves]
        for transform, matrix in zip(with_links, whole, strict=True):
            expected = (matrix @ np.linalg.inv(whole[reference]))[:2].ravel()
            assert corner_error(transform, expected) < 0.25
    assert estimation.estimate_stack(frames, links=links) == estimation.estimate_stack(frames)


@pytest.mark.parametrize("reference", [0, 2])
def test_threads_change_no_number(reference: int) -> None:
    camera = scenes.Camera(breathing=0.01, shift=(3.0, 1.0), noise=2.0, exposure_ev=0.4)
    frames = scenes.make_stack((300, 400), frames=4, scene="slant", blur=5.0, camera=camera).frames
    alone = estimation.estimate_stack(frames, reference=reference)
    assert estimation.estimate_stack(frames, reference=reference, threads=3) == alone
    lights = [compare_light(frames, alone, threads=threads).lights for threads in (1, 3)]
    assert lights[0] == lights[1] != (lights[0][0],) * 4


def test_what_a_thread_cannot_read_is_told() -> None:
    class Unreadable:
        shape, dtype = (300, 400, 3), np.dtype(np.uint8)

        def __getitem__(self, area: Any) -> Any:
            raise StackError("cannot be read")

    frames: list[Any] = [*scenes.make_stack((300, 400)).frames, Unreadable()]
    with pytest.raises(StackError, match="cannot be read"):
        estimation.estimate_stack(frames, threads=2)


def test_the_reference_is_the_narrowest_field_or_the_middle() -> None:
    def breathes(scale: float) -> fits.Fit:
        return fits.Fit((scale, 0, 3, 0, scale, -2))

    assert choose_reference([breathes(1.01)] * 4)[0] == 4
    assert choose_reference([breathes(0.99)] * 4)[0] == 0
    assert choose_reference([breathes(1.01), breathes(0.98)])[0] == 1
    index, reason = choose_reference([breathes(1.0002)] * 4)
    assert index == 2 and "middle" in reason


def test_frames_that_do_not_fit_are_refused() -> None:
    frame = np.zeros((64, 64), np.uint8)
    with pytest.raises(StackError, match="one size"):
        estimation.estimate(frame, frame[1:])
    with pytest.raises(OptionError, match="align is 'rigid'"):
        estimation.estimate(frame, frame, model="rigid")  # type: ignore[arg-type]


def test_transforms_survive_pickling() -> None:
    transform = Transform(BREATHING, "similarity", 0.9, 0.05, (1.0, 1.1, 0.9))
    assert pickle.loads(pickle.dumps(transform)) == transform


# --- warping


@st.composite
def windows(draw: st.DrawFn, shape: tuple[int, int]) -> Box:
    top, left = draw(st.integers(0, shape[0] - 1)), draw(st.integers(0, shape[1] - 1))
    bottom, right = draw(st.integers(top + 1, shape[0])), draw(st.integers(left + 1, shape[1]))
    return Box(top, left, bottom, right)


near_one, small = st.floats(0.9, 1.1), st.floats(-0.15, 0.15)
shifts = st.floats(-70, 70)
matrices = st.tuples(near_one, small, shifts, small, near_one, shifts)


@given(
    matrix=matrices,
    box=windows((97, 131)),
    kind=st.sampled_from(["u1", "u2", "f4"]),
    relit=st.booleans(),
)
@settings(max_examples=60)
def test_tiles_equal_the_whole_bit_for_bit(matrix: Any, box: Box, kind: str, relit: bool) -> None:
    colour = kind != "u2"
    frame = np.random.default_rng(5).integers(0, 256, (97, 131, 3)[: 3 if colour else 2])
    frame = frame.astype(kind)
    transform = Transform(matrix, "affine")
    slopes = ((0.02, -0.03, 0.1, 0.0, -0.05),)
    light = None
    if relit:
        light = Light((1.1, 0.9, 1.0), slopes * 3) if colour else Light((1.2,), slopes)
    whole = warp.warp_window(frame, transform, Box(0, 0, 97, 131), light=light)

    def read(part: Box) -> Image:
        assert 0 <= part.top < part.bottom <= 97 and 0 <= part.left < part.right <= 131
        return np.ascontiguousarray(frame[part.slices])

    tile = warp.warp_window(read, transform, box, (97, 131), light=light)
    assert tile.dtype == frame.dtype
    np.testing.assert_array_equal(tile, whole[box.slices])


def test_sides_beyond_32767_pixels_can_be_warped() -> None:
    width = 40_000
    frame = np.tile((np.arange(width) % 251).astype(np.uint8), (12, 1))
    transform = Transform((1, 0, 3.0, 0, 1, 0.0), "translation")
    box = Box(0, 38_000, 12, 39_900)
    moved = warp.warp_window(frame, transform, box)
    np.testing.assert_array_equal(moved, frame[:, 38_003:39_903])


def test_warping_places_what_a_smooth_scene_shows() -> None:
    def scene(x: Any, y: Any) -> Any:
        return 0.5 + 0.2 * np.sin(x / 3) + 0.2 * np.cos(y / 4 + x / 9)

    y, x = np.mgrid[:120, :150].astype(float)
    a, b, c, d, e, f = BREATHING
    moved = warp.warp_window(
        scene(x, y).astype(np.float32), Transform(BREATHING), Box(10, 10, 110, 140)
    )
    expected = scene(a * x + b * y + c, d * x + e * y + f)[10:110, 10:140]
    np.testing.assert_allclose(moved, expected, atol=2e-3)


def test_warping_is_lanczos_to_a_thousandth_of_a_code_value() -> None:
    frame = np.random.default_rng(2).integers(0, 256, (60, 70)).astype(np.float32)
    moved = warp.warp_window(frame, Transform(BREATHING), Box(20, 20, 40, 50))

    def weights(place: float) -> tuple[slice, npt.NDArray[np.float64]]:
        taps = int(place) + np.arange(-3, 5)
        lanczos = np.sinc(place - taps) * np.sinc((place - taps) / 4)
        return slice(taps[0], taps[-1] + 1), lanczos / lanczos.sum()

    a, b, c, d, e, f = BREATHING
    for i, j in np.ndindex(moved.shape):
        y, x = i + 20, j + 20
        rows, down = weights(d * x + e * y + f)
        value = 0.0
        for weight, row in zip(down, range(rows.start, rows.stop), strict=True):
            # The output's column x meets this row of the frame at the output's row `height`.
            height = (row - f - d * x) / e
            columns, across = weights(a * x + b * height + c)
            value += weight * (across @ frame[row, columns])
        assert moved[i, j] == pytest.approx(value, abs=1e-3)


def test_noise_that_only_one_frame_has_does_not_pass_for_certainty() -> None:
    # Gradients of noise alone would say that blocks without common detail lie still.
    grain = np.random.default_rng(1).standard_normal((2, 120, 160)).astype(np.float32)
    common, *own = (cv2.GaussianBlur(image, (0, 0), 2) * 8 for image in (grain[0], *grain))
    points, sums = blocks.block_sums(common, common, 20, 6)
    _, apart = blocks.block_sums(own[0], own[1], 20, 6)
    assert len(points) == 5 * 7
    assert sums[:, [0, 2]].mean() > 10 * np.abs(apart[:, [0, 2]].mean(axis=0)).max()


def test_identity_returns_the_stored_values() -> None:
    frame = np.random.default_rng(1).integers(0, 65536, (40, 50, 3), np.uint16)
    box = Box(3, 5, 30, 44)
    np.testing.assert_array_equal(warp.warp_window(frame, Transform(), box), frame[box.slices])


def test_results_are_rounded_and_clipped() -> None:
    frame = np.zeros((30, 30), np.uint8)
    frame[:, 15:] = 255
    moved = warp.warp_window(frame, Transform((1, 0, 0.5, 0, 1, 0)), Box(0, 0, 30, 30))
    # A sharp step overshoots on both sides; wrapped values would be dark in the bright half.
    assert moved[:, 20:].min() > 240 and moved[:, :10].max() < 15
    brighter = warp.warp_window(
        frame // 2, Transform(), Box(0, 0, 30, 30), light=Light((3.0,)), data_range=200
    )
    assert brighter.max() == 200


def test_a_reader_needs_the_size_of_its_frame() -> None:
    with pytest.raises(StackError, match="size"):
        warp.warp_window(lambda part: np.zeros(part.shape), Transform(), Box(0, 0, 1, 1))


@given(matrix=matrices)
@settings(max_examples=60)
def test_the_valid_area_is_covered_by_every_frame(matrix: tuple[float, ...]) -> None:
    shape = (300, 400)
    area = warp.valid_area([Transform(), Transform(matrix)], shape)
    assert 0 <= area.top < area.bottom <= 300 and 0 <= area.left < area.right <= 400
    corners = np.array(
        [(x, y, 1) for x in (area.left, area.right - 1) for y in (area.top, area.bottom - 1)]
    )
    x, y = Transform(matrix).array @ corners.T
    assert x.min() >= 0 and y.min() >= 0 and x.max() <= 399 and y.max() <= 299


def test_the_valid_area_loses_no_more_than_the_frame_does() -> None:
    area = warp.valid_area([Transform((1, 0, 5.3, 0, 1, -3.7))], (300, 400))
    assert area == Box(4, 0, 300, 394)


def test_frames_without_a_common_area_are_refused() -> None:
    apart = [Transform((1, 0, 250, 0, 1, 0)), Transform((1, 0, -250, 0, 1, 0))]
    with pytest.raises(StackError, match="common"):
        warp.valid_area(apart, (300, 400))


@pytest.mark.parametrize("degrees", [50, 90, 180])
def test_frames_that_are_turned_far_are_refused(degrees: float) -> None:
    """At a right angle rows of the output would meet no row of the frame."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    for matrix in (
        (cosine, -sine, 90.0, sine, cosine, 0.0),
        (1.0, 0.0, 0.0, 0.0, 0.0, 4.0),
    ):
        with pytest.raises(StackError, match="45 degrees"):
            warp.warp_window(np.zeros((90, 90), np.uint8), Transform(matrix), Box(0, 0, 90, 90))


def test_no_fit_hangs_on_a_few_blocks() -> None:
    """A few spots before blank ground tell much of themselves, and fit anything by chance."""
    rng = np.random.default_rng(5)
    ticks = np.arange(10.0, 310.0, 30.0)
    points = np.stack(np.meshgrid(ticks, ticks), axis=-1).reshape(-1, 2)
    count = len(points)
    told = np.full(count, 1e-3)

    def error(spots: int) -> float:
        told[:spots] = 1e3
        gradients = told[:, None, None] * np.eye(2)
        slopes = told[:, None] * rng.normal(0, 3, (count, 2))
        alike = np.ones(count)
        seen = blocks.Blocks(points, gradients, slopes, alike, 20, 1, alike, alike)
        return fits.fitted(seen, np.eye(3), (320, 320), "similarity").error

    assert not np.isfinite(error(3))
    assert np.isfinite(error(count))
