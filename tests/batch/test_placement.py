"""What people are told of where frames lie."""

import pytest

from batchstack.batch.placement import cost_of_crop, not_aligned, warnings
from batchstack.registration import BETWEEN, TOO_SMALL

WHY = TOO_SMALL.removeprefix("not aligned: ")
FELL = "not aligned: agreement would fall from 0.{} to 0.1"


def facts(*notes, **others):
    return {"align": [{"note": note} if note else {} for note in notes], **others}


@pytest.mark.parametrize(
    ("notes", "told"),
    [
        (["", ""], []),
        (["", TOO_SMALL, "", TOO_SMALL], [f"2 of 4 frames keep their neighbour's place: {WHY}"]),
        (["", TOO_SMALL], [f"frame 2 of 2 keeps its neighbour's place: {WHY}"]),
        (
            ["", "not aligned: too dark" + BETWEEN, ""],
            ["frame 2 of 3 is put between its neighbours: too dark"],
        ),
        (
            ["", FELL.format(5), FELL.format(6)],
            [
                "2 of 3 frames keep their neighbour's place; frame 2: agreement would fall "
                "from 0.5 to 0.1"
            ],
        ),
        (
            ["", FELL.format(5), TOO_SMALL],
            [
                "2 of 3 frames keep their neighbour's place; frame 2: agreement would fall "
                "from 0.5 to 0.1; the record has the other reasons"
            ],
        ),
    ],
)
def test_a_stack_has_one_line_whatever_its_frames(notes, told):
    assert warnings(facts(*notes)) == told


def test_only_moves_that_may_matter_count_as_not_aligned():
    assert not_aligned(facts("", FELL.format(5)))
    assert not not_aligned(facts("", TOO_SMALL))


def test_what_no_affine_transform_follows_is_told_above_the_limit():
    assert warnings(facts("", residual=1.9)) == []
    (told,) = warnings(facts("", residual=4.25))
    assert told.startswith("neighbouring frames lie up to 4.2 px apart")


@pytest.mark.parametrize("strange", [{}, {"align": 3}, {"align": [None, 1]}, {"residual": "x"}])
def test_facts_of_any_origin_are_borne(strange):
    assert warnings(strange) == [] and cost_of_crop(strange) == ""
