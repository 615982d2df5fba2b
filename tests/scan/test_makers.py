"""Makers' notes, made here as their makers write them."""

import struct

import pytest

from batchstack.images.exif import Entry
from batchstack.scan.makers import SeriesFacts, series_facts

SHORT, LONG = 3, 4


def directory(entries, order, place):
    """An Exif directory of whole numbers that begins at a place of what offsets count from."""
    head = struct.pack(f"{order}H", len(entries))
    body, after = b"", b""
    behind = place + 2 + 12 * len(entries) + 4
    for tag, kind, values in entries:
        data = b"".join(struct.pack(order + {SHORT: "H", LONG: "I"}[kind], v) for v in values)
        if len(data) > 4:
            value, after = struct.pack(f"{order}I", behind + len(after)), after + data
        else:
            value = data.ljust(4, b"\0")
        body += struct.pack(f"{order}HHI", tag, kind, len(values)) + value
    return head + body + b"\0\0\0\0" + after


def read(make, head, entries, *, order=">", inner=None):
    """The facts of a note whose offsets count from itself, with an inner directory if given."""
    note = head + directory(entries, order, len(head))
    if inner is not None:
        tag, content = inner
        entries = [*entries, (tag, LONG, [0])]
        place = len(head) + len(directory(entries, order, len(head)))
        entries[-1] = (tag, LONG, [place])
        note = head + directory(entries, order, len(head)) + directory(content, order, place)
    return facts(make, b"MM\0*" + b"\0" * 16, note)


def facts(make, before, note):
    block = before + note
    return series_facts(make, block, Entry(">", 7, len(note), len(before)))


def test_olympus_states_place_and_focus_among_its_settings():
    settings = [(0x0600, SHORT, [5, 3, 0x40])]
    found = read("OLYMPUS CORPORATION", b"OLYMPUS\0II\3\0", [], order="<", inner=(0x2020, settings))
    assert found == SeriesFacts(True, 3, nearer=False)


def test_exposure_brackets_of_olympus_are_no_focus_brackets():
    settings = [(0x0600, SHORT, [5, 3, 0x01])]
    head = b"OM SYSTEM\0\0\0II\4\0"
    found = read("OM Digital Solutions", head, [], order="<", inner=(0x2020, settings))
    assert found.bracketed is False


@pytest.mark.parametrize(("step", "nearer"), [(3, False), (0xFFFD, True)])
def test_panasonic_states_place_and_direction(step, nearer):
    # Its offsets count from the block, which does not matter for values of four bytes.
    entries = [(0x002A, SHORT, [3]), (0x002B, LONG, [7]), (0x00BD, SHORT, [step])]
    assert read("Panasonic", b"Panasonic\0\0\0", entries) == SeriesFacts(True, 7, nearer=nearer)


def test_canon_states_focus_bracketing():
    block = b"MM\0*" + b"\0" * 4
    for on in (0, 1):
        note = directory([(0x4053, LONG, [12, on, 20])], ">", len(block))
        assert facts("Canon", block, note) == SeriesFacts(bracketed=bool(on))


def test_fujifilm_states_the_place():
    note = b"FUJIFILM" + struct.pack("<I", 12)
    note += directory([(0x1101, SHORT, [4])], "<", 12)
    assert facts("FUJIFILM", b"MM\0*", note) == SeriesFacts(number=4)


@pytest.mark.parametrize("cut", range(0, 60, 3))
def test_a_damaged_note_says_nothing(cut):
    note = b"Panasonic\0\0\0" + directory([(0x002A, SHORT, [3]), (0x002B, LONG, [7])], ">", 12)
    damaged = note[:cut] + b"\xff" * 9 + note[cut + 9 :]
    assert isinstance(facts("Panasonic", b"MM\0*", damaged), SeriesFacts)


def test_an_unknown_maker_says_nothing():
    assert facts("Holga", b"MM\0*", b"note") == SeriesFacts()
