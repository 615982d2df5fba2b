"""Stacks proposed from what is known of shots: names, tags, times, looks."""

from dataclasses import replace

import numpy as np
import pytest

from batchstack.scan.grouping import Left, in_order, propose, with_holes
from batchstack.scan.looks import Look
from batchstack.scan.makers import SeriesFacts
from batchstack.scan.shots import Shot

BODY, SETTINGS = ("Maker", "Model", ""), ("Lens", 5.6, 100.0)


def shot(name, time=None, **facts):
    return Shot(name, (60, 80), time, **{"body": BODY, "settings": SETTINGS} | facts)


def look(scene, focus):
    """A look at one of several scenes, focused at a place from 0 to 1."""
    picture = np.zeros((4, 4), np.float32)
    picture.flat[scene] = 1.0
    depths = np.linspace(0, 1, 24, dtype=np.float32)
    sharpness = np.exp(3 * np.exp(-(((depths - focus) / 0.2) ** 2))) - 0.5
    return Look(picture, sharpness.astype(np.float32))


def proposed(shots, looks=None, **options):
    """What is proposed as {id: frames}, and what is left as {name: why}."""
    given = looks or {}
    found = propose(shots, lambda run: [given.get(one.name) for one in run], **options)
    return (
        {group.id: group.frames for group in found.groups},
        {left.name: left.why for left in found.left},
    )


def test_frames_named_for_their_side_are_pairs_back_first():
    names = ["a_front.jpg", "a_back.jpg", "near-b.jpg", "far-b.jpg", "c_back.jpg"]
    groups, left = proposed([shot(name) for name in names])
    assert groups == {
        "a": ("a_back.jpg", "a_front.jpg"),
        "b": ("far-b.jpg", "near-b.jpg"),
    }
    assert left.keys() == {"c_back.jpg"}


def test_single_shots_of_one_name_in_folders_of_their_side_are_pairs():
    names = ["s/back/1.jpg", "s/back/2.jpg", "s/back/9.jpg", "s/Front/2.jpg", "s/Front/1.jpg"]
    names += ["t_near/1.jpg", "t_far/1.jpg", "back/1.jpg", "elsewhere/1.jpg"]
    scenes = {name: look(number, 0.5) for number, name in enumerate(names)}
    groups, left = proposed([shot(name) for name in names], scenes)
    assert groups == {
        "s/1": ("s/back/1.jpg", "s/Front/1.jpg"),
        "s/2": ("s/back/2.jpg", "s/Front/2.jpg"),
        "t/1": ("t_far/1.jpg", "t_near/1.jpg"),
    }
    assert left.keys() == {"s/back/9.jpg", "back/1.jpg", "elsewhere/1.jpg"}


def test_stacks_in_folders_named_for_a_side_of_the_subject_stay_whole():
    names = [f"{side}/{n}.jpg" for side in ("back", "front") for n in (1, 2, 3)]
    shots = [
        shot(name, float(n), series=SeriesFacts(True, n % 3 + 1)) for n, name in enumerate(names)
    ]
    groups, left = proposed(shots)
    assert groups == {"back": tuple(names[:3]), "front": tuple(names[3:])} and left == {}


def test_a_series_ends_where_its_number_begins_anew_even_without_a_wait():
    shots = [
        shot(f"P{index}.jpg", float(index), series=SeriesFacts(True, number))
        for index, number in enumerate([1, 2, 3, 1, 2, 3, 4])
    ]
    groups, left = proposed(shots)
    assert [len(frames) for frames in groups.values()] == [3, 4]
    assert left == {}


def test_what_the_camera_fused_is_no_frame():
    series = [shot(f"P{n}.jpg", float(n), series=SeriesFacts(True, n)) for n in (1, 2, 3)]
    fused = shot("P4.jpg", 4.0, made_of="was stacked in the camera")
    groups, left = proposed([*series, fused])
    assert list(groups.values()) == [("P1.jpg", "P2.jpg", "P3.jpg")]
    assert left == {"P4.jpg": "was stacked in the camera"}


@pytest.mark.parametrize(("nearer", "turned"), [(True, False), (False, True)])
def test_the_direction_that_the_camera_states_decides_the_order(nearer, turned):
    shots = [
        shot(f"P{n}.jpg", float(n), series=SeriesFacts(True, n, nearer=nearer)) for n in (1, 2, 3)
    ]
    names = tuple(one.name for one in shots)
    (frames,) = proposed(shots)[0].values()
    assert frames == (names[::-1] if turned else names)


def test_focus_distance_decides_the_order_far_first():
    distances = [0.31, float("inf"), 0.5]
    shots = [
        shot(f"P{n}.jpg", float(n), series=SeriesFacts(True, n), distance=distance)
        for n, distance in enumerate(distances, start=1)
    ]
    assert list(proposed(shots)[0].values()) == [("P2.jpg", "P3.jpg", "P1.jpg")]


def series(first, count, start, step=0.5):
    return [shot(f"IMG_{first + n:04}.jpg", start + step * n) for n in range(count)]


def focused(shots, scene, places):
    return {one.name: look(scene, place) for one, place in zip(shots, places, strict=True)}


def test_a_wait_parts_stacks_of_one_scene():
    one, other = series(1, 5, 0.0), series(6, 5, 30.0)
    places = np.linspace(0, 1, 5)
    looks = focused(one, 0, places) | focused(other, 0, places)
    groups, left = proposed(one + other, looks)
    assert [len(frames) for frames in groups.values()] == [5, 5]
    assert left == {}


def test_another_scene_parts_stacks_without_a_wait():
    one, other = series(1, 5, 0.0), series(6, 4, 2.5)
    looks = focused(one, 0, np.linspace(0, 1, 5)) | focused(other, 1, np.linspace(0, 1, 4))
    groups, _ = proposed(one + other, looks)
    assert [len(frames) for frames in groups.values()] == [5, 4]


def test_focus_that_jumps_back_begins_a_new_stack():
    shots = series(1, 12, 0.0)
    looks = focused(shots, 0, [*np.linspace(0, 1, 6), *np.linspace(0, 1, 6)])
    groups, _ = proposed(shots, looks)
    assert [len(frames) for frames in groups.values()] == [6, 6]


@pytest.mark.parametrize("place", [1, 4, 10])
def test_a_frame_out_of_focus_parts_no_stack(place):
    shots = series(1, 12, 0.0)
    looks = focused(shots, 0, np.linspace(0, 1, 12))
    name = shots[place].name
    looks[name] = replace(looks[name], sharpness=np.exp(-4) * (looks[name].sharpness + 0.5) - 0.5)
    groups, _ = proposed(shots, looks)
    assert [len(frames) for frames in groups.values()] == [12]


def test_a_shot_at_the_middle_before_a_stack_is_not_of_it():
    shots = series(1, 17, 0.0)
    looks = focused(shots, 0, [0.5, *np.linspace(0, 1, 16)])
    groups, left = proposed(shots, looks)
    assert [len(frames) for frames in groups.values()] == [16]
    assert left.keys() == {"IMG_0001.jpg"}


def test_a_burst_is_no_stack_and_a_single_shot_neither():
    burst, single = series(1, 4, 0.0), series(5, 1, 60.0)
    looks = focused(burst, 0, [0.5] * 4) | focused(single, 1, [0.5])
    groups, left = proposed(burst + single, looks)
    assert groups == {}
    assert {why.split(":")[0] for why in left.values()} == {"one of a burst", "a single shot"}


def test_two_cameras_that_shoot_at_the_same_time_make_stacks_of_their_own():
    other = ("Maker", "Model", "another number")
    shots = [
        shot(f"{name}{n}.jpg", n + late, body=body, series=SeriesFacts(True, n))
        for name, body, late in (("A", BODY, 0.0), ("B", other, 0.4))
        for n in (1, 2, 3)
    ]
    groups, left = proposed(shots)
    assert sorted(groups.values()) == [tuple(f"{name}{n}.jpg" for n in (1, 2, 3)) for name in "AB"]
    assert left == {}


def test_only_a_folder_that_holds_one_stack_names_it():
    def series(name, **facts):
        return [
            shot(f"{name}{n}.jpg", float(n), series=SeriesFacts(True, n), **facts) for n in (1, 2)
        ]

    assert proposed(series("p/a"))[0].keys() == {"p"}
    both = [*series("p/a"), *series("p/b", body=("Another",))]
    assert proposed(both)[0].keys() == {"p/a1", "p/b1"}
    both = [*series("p/a"), *series("p/b", format="tiff")]
    assert proposed(both)[0].keys() == {"p/a1", "p/b1"}


@pytest.mark.parametrize("changed", [{"size": (80, 60)}, {"settings": ("Lens", 8.0, 100.0)}])
def test_other_settings_part_stacks(changed):
    one, other = series(1, 4, 0.0), [replace(s, **changed) for s in series(5, 4, 2.0)]
    places = np.linspace(0, 1, 4)
    groups, _ = proposed(one + other, focused(one, 0, places) | focused(other, 0, places))
    assert [len(frames) for frames in groups.values()] == [4, 4]


def test_a_counter_that_went_over_its_end_goes_on():
    names = ["IMG_0001.jpg", "IMG_0002.jpg", "IMG_9998.jpg", "IMG_9999.jpg"]
    ordered = [one.name for one in in_order([shot(name) for name in names])]
    assert ordered == [names[2], names[3], names[0], names[1]]


def test_a_gap_among_small_numbers_is_no_end_of_the_counter():
    names = ["f1.jpg", "f2.jpg", "f9.jpg", "f10.jpg"]
    assert [one.name for one in in_order([shot(name) for name in names])] == names


def test_a_folder_with_one_stack_names_it_unless_more_may_come():
    shots = series(1, 5, 0.0)
    looks = focused(shots, 0, np.linspace(0, 1, 5))
    below = [replace(one, name=f"fly/{one.name}") for one in shots]
    seen = {f"fly/{name}": view for name, view in looks.items()}
    assert list(proposed(below, seen)[0]) == ["fly"]
    assert list(proposed(below, seen, steady_ids=True)[0]) == ["fly/IMG_0001"]


def test_what_cannot_be_looked_at_is_left_out_and_said():
    shots = series(1, 9, 0.0)
    looks = focused(shots, 0, np.linspace(0, 1, 9))
    del looks["IMG_0003.jpg"]
    groups, left = proposed(shots, looks)
    assert [len(frames) for frames in groups.values()] == [8]
    assert left == {"IMG_0003.jpg": "cannot be read"}


def test_a_stack_without_a_damaged_frame_says_so_also_where_the_counter_went_over_its_end():
    names = [f"IMG_{number:04}.jpg" for number in (9996, 9997, 9998, 9999, 1, 2, 3)]
    shots = [shot(name, float(index)) for index, name in enumerate(names)]
    looks = focused(shots, 0, np.linspace(0, 1, 7))
    del looks["IMG_9999.jpg"]
    found = propose(shots, lambda run: [looks.get(one.name) for one in run])
    later = Left("IMG_0007.jpg", "is no image", is_damaged=True)
    (group,) = with_holes(replace(found, left=[*found.left, later])).groups
    assert group.doubts == ("without IMG_9999.jpg, which cannot be read",)


def test_a_frame_whose_name_has_a_wrong_ending_is_still_a_frame():
    shots = series(1, 9, 0.0)
    looks = focused(shots, 0, np.linspace(0, 1, 9))
    shots[4] = replace(shots[4], name="IMG_0005.png")
    groups, left = proposed(shots, looks | {"IMG_0005.png": looks["IMG_0005.jpg"]})
    assert [len(frames) for frames in groups.values()] == [9]
    assert left == {}


def test_copies_in_another_format_are_stacks_of_their_own():
    shots = series(1, 9, 0.0)
    looks = focused(shots, 0, np.linspace(0, 1, 9))
    copies = [replace(one, name=f"{one.name[:-4]}.tif", format="tif") for one in shots]
    seen = looks | {f"{name[:-4]}.tif": view for name, view in looks.items()}
    groups, _ = proposed([*shots, *copies], seen)
    assert sorted(len(frames) for frames in groups.values()) == [9, 9]
