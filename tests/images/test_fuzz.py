"""Damaged headers and metadata: an image, an error of ours, or nothing else.

No crash, no hang, no other exception, no line of a library on the screen.
"""

import struct
import zlib
from itertools import pairwise
from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchstack.errors import ImageError
from batchstack.images import Metadata, probe, read_image, read_metadata, xmp
from batchstack.images.exif import first_directory, taking_directory, text, whole_numbers
from batchstack.images.exif_block import parse
from batchstack.images.icc import is_sound, joined
from batchstack.images.inherit import inheritable
from batchstack.images.orientation import exif_orientation
from batchstack.images.shots import shot
from tests.images.mutants import damaged, samples
from tests.images.samples import SRGB, exif_block
from tests.images.test_odd_files import exif_of, olympus_note

SAMPLES = list(samples())
SIGNATURE = b"\x89PNG\r\n\x1a\n"
BLOCKS = [
    exif_block(6),
    exif_of(MakerNote=olympus_note(9), CompositeImage=3).removeprefix(b"Exif\0\0"),
]
# What libpng says of pixels whose own checksum or length is wrong, in a chunk that is right.
KNOWN = "PNG warning: IDAT: "


def with_checksums(png):
    """The chunks of a damaged PNG, with checksums as if they were meant so."""
    out, at = bytearray(SIGNATURE), len(SIGNATURE)
    while at + 12 <= len(png):
        (length,) = struct.unpack_from(">I", png, at)
        body = png[at + 4 : at + 8 + length]
        out += struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))
        at += 12 + length
    return bytes(out)


@st.composite
def mutants(draw):
    original = draw(st.sampled_from(SAMPLES))
    data = damaged(original, Random(draw(st.integers(0, 2**32))))
    if original.startswith(SIGNATURE) and draw(st.booleans()):
        data = with_checksums(data)
    return data


def read_all_ways(folder, data):
    path = folder / "mutant"
    path.write_bytes(data)
    for read in (probe, read_metadata, read_image):
        try:
            read(path)
        except ImageError as error:
            assert str(error).startswith(f"{path}: ")


QUICK = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@QUICK
@given(data=mutants())
def test_a_damaged_file_is_read_or_refused(tmp_path, capfd, data):
    read_all_ways(tmp_path, data)
    said = capfd.readouterr().err.splitlines()
    assert all(line.startswith(KNOWN) for line in said), said


@pytest.mark.long
@pytest.mark.timeout(3600)
@settings(QUICK, max_examples=10_000)
@given(data=mutants())
def test_ten_thousand_damaged_files_are_read_or_refused(tmp_path, capfd, data):
    read_all_ways(tmp_path, data)
    said = capfd.readouterr().err.splitlines()
    assert all(line.startswith(KNOWN) for line in said), said


@settings(QUICK, max_examples=400)
@given(
    block=st.one_of(
        st.binary(max_size=400),
        st.builds(
            lambda original, seed: damaged(original, Random(seed)),
            st.sampled_from(BLOCKS),
            st.integers(0, 2**32),
        ),
    )
)
def test_any_bytes_may_stand_where_metadata_should(block):
    assert 1 <= exif_orientation(block) <= 8
    turned = parse(block).turned(6)
    assert not turned or exif_orientation(turned.block()) == 1
    assert len(xmp.upright(block)) == len(block)
    inheritable(Metadata(exif=block, xmp=block), 6, strip_gps=True)
    shot(block)
    first = first_directory(block)
    for entry in (*first.values(), *taking_directory(block, first).values()):
        assert len(whole_numbers(block, entry)) <= 2
        assert len(text(block, entry)) <= 200
    profile = joined([b"\1\1" + block])
    assert profile is None or is_sound(profile)


@given(cuts=st.lists(st.integers(0, len(SRGB)), max_size=9), random=st.randoms())
def test_a_profile_is_put_together_from_pieces_in_any_order(cuts, random):
    ends = [0, *sorted(cuts), len(SRGB)]
    parts = [SRGB[one:two] for one, two in pairwise(ends)]
    pieces = [bytes((n, len(parts))) + part for n, part in enumerate(parts, 1)]
    pieces += random.sample(pieces, random.randrange(len(pieces) + 1))
    random.shuffle(pieces)
    assert joined(pieces) == SRGB
