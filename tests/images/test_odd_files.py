"""Files that viewers open though they are not in order, and files that are no picture yet."""

import ast
import io
import logging
import shutil
import struct
import subprocess
import sys
import zlib
from functools import partial

import imagecodecs
import numpy as np
import pytest
import tifffile
from PIL import Image
from PIL.TiffImagePlugin import IFDRational

from batchstack.errors import DamagedError, ImageError, PageStackError
from batchstack.formats import FORMATS
from batchstack.images import (
    Encoding,
    Metadata,
    probe,
    read_image,
    read_metadata,
    same_colours,
    write_image,
)
from batchstack.images.orientation import exif_orientation
from batchstack.scan.shots import read_shot
from tests.images import sources
from tests.images.samples import (
    SRGB,
    exif_block,
    jpeg_bytes,
    noise,
    photo,
    png_bytes,
    png_chunk,
)

PNG = png_bytes(Image.fromarray(photo()))
PLAIN, PROGRESSIVE = jpeg_bytes(photo()), jpeg_bytes(photo(), progressive=True)
END = b"\xff\xd9"


def segment(marker, payload):
    return struct.pack(">BBH", 0xFF, marker, len(payload) + 2) + payload


def icc(number, count, part):
    return segment(0xE2, b"ICC_PROFILE\0" + bytes((number, count)) + part)


def scan_end():
    """Where the header of the scan of `PLAIN` ends."""
    start = PLAIN.index(b"\xff\xda")
    return start + 2 + int.from_bytes(PLAIN[start + 2 : start + 4])


ODD_JPEGS = {
    **{f"{n} bytes before the end": PLAIN[:-2] + bytes([7]) * n + END for n in (1, 5, 20, 3000)},
    "stuffed bytes before the end": PLAIN[:-2] + b"\xff\0" * 30 + END,
    "a trailer too": PLAIN[:-2] + bytes(9) + END + PLAIN,
    "odd version": PLAIN[:11] + b"\3\0" + PLAIN[13:],
    "bytes between segments": PLAIN[:20] + b"\0\1\2" + PLAIN[20:],
    "frequencies left out": PLAIN[: scan_end() - 2] + b"\0\0" + PLAIN[scan_end() :],
    "odd profile": PLAIN[:2] + icc(1, 2, b"abc" * 99) + PLAIN[2:],
    "doubled profile": PLAIN[:2] + icc(1, 1, SRGB) * 2 + PLAIN[2:],
    "profile counted from 0": PLAIN[:2] + icc(0, 2, SRGB[:99]) + icc(1, 2, SRGB[99:]) + PLAIN[2:],
}


def file_with(path, content):
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("name", ODD_JPEGS)
def test_an_odd_jpeg_has_the_pixels_that_it_has_in_order(tmp_path, name):
    expected = read_image(file_with(tmp_path / "plain.jpg", PLAIN))
    odd = file_with(tmp_path / "odd.jpg", ODD_JPEGS[name])
    np.testing.assert_array_equal(read_image(odd), expected)
    assert probe(odd).shape == expected.shape
    ignored = name == "odd profile"
    assert [*probe(odd).notes] == ["has a damaged colour profile (ICC), which is ignored"] * ignored
    assert read_metadata(odd).icc == (SRGB if "profile" in name and not ignored else None)


@pytest.mark.parametrize("stray", [b"", bytes(5), b"\xff\0" * 9])
@pytest.mark.parametrize("jpeg", [PLAIN, PROGRESSIVE])
def test_a_jpeg_that_lacks_pixels_is_refused_whatever_stands_before_its_end(tmp_path, jpeg, stray):
    for cut in (40, 200):
        path = file_with(tmp_path / "a.jpg", jpeg[: -2 - cut] + stray + END)
        with pytest.raises(ImageError, match="damaged or incomplete"):
            read_image(path)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (bytes(9000), "begins with zeros"),
        *((PNG[:n], f"ends after {n} bytes") for n in (1, 7)),
        *((head, f"ends after {len(head)} bytes") for head in (PLAIN[:2], b"II*", b"MM")),
        (b"<!DOCTYPE html>", "if it was one copy it again from the source"),
    ],
)
def test_a_file_of_which_too_little_arrived_is_told_as_such(tmp_path, content, what):
    with pytest.raises(DamagedError, match=what) as refusal:
        probe(file_with(tmp_path / "a.tif", content))
    assert str(refusal.value).endswith("copy it again from the source")


GAMMA, LINEAR = png_chunk(b"gAMA", (45455).to_bytes(4)), png_chunk(b"gAMA", (100000).to_bytes(4))
# What says nothing that could be true, or comes after what says it already.
ODD_COLOURS = {
    "cICP": png_chunk(b"cICP", bytes((9, 16))),
    "gAMA": png_chunk(b"gAMA", bytes(4)) + GAMMA,
    "cHRM": png_chunk(b"cHRM", struct.pack(">8I", *[33333] * 8)) + GAMMA,
    "sRGB": png_chunk(b"sRGB", b""),
    "": GAMMA + LINEAR,
}


@pytest.mark.parametrize("name", ODD_COLOURS)
def test_what_png_says_of_colours_is_the_first_that_can_be_true(tmp_path, name):
    plain = probe(file_with(tmp_path / "plain.png", PNG))
    odd = file_with(tmp_path / "odd.png", PNG[:33] + ODD_COLOURS[name] + PNG[33:])
    assert same_colours(probe(odd), plain)
    said = [f"has damaged {name}, which is ignored"] if name else []
    assert [*probe(odd).notes] == said
    chunks = read_metadata(odd).chunks
    assert chunks == (((b"gAMA", GAMMA[8:12]),) if GAMMA in ODD_COLOURS[name] else ())
    write_image(
        tmp_path / "out.png", read_image(odd), encoding=Encoding(metadata=read_metadata(odd))
    )
    assert read_metadata(tmp_path / "out.png").chunks == chunks
    linear = probe(file_with(tmp_path / "linear.png", PNG[:33] + LINEAR + PNG[33:]))
    assert not same_colours(probe(odd), linear)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_a_damaged_profile_is_told_and_left_out(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    no_tags = SRGB[:128] + b"\0\0\xff\xff" + SRGB[132:]
    for profile, sound in (
        *((SRGB, True), (SRGB[:200], False), (b"x" * 500, False)),
        *((no_tags, False), (SRGB[:132] + bytes(len(SRGB) - 132), False)),
    ):
        if suffix == "png":
            path.write_bytes(png_bytes(Image.fromarray(photo()), icc_profile=profile))
        else:
            tifffile.imwrite(path, photo(), photometric="rgb", iccprofile=profile)
        assert (read_metadata(path).icc == profile) == (probe(path).notes == ()) == sound
        np.testing.assert_array_equal(read_image(path), photo())


def tiff_with(path, tag, **changes):
    """A TIFF full of metadata, the entry of a tag changed: its type, count or value."""
    sources.full_tiff(path)
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages.first.tags[tag].offset
    data = bytearray(path.read_bytes())
    for name, value in changes.items():
        struct.pack_into("<I", data, place + {"count": 4, "value": 8}[name], value)
    return file_with(path, data)


@pytest.mark.parametrize(
    ("tag", "name"),
    [
        (34665, "has damaged EXIF"),
        (34853, "has damaged GPS"),
        (33723, "has damaged IPTC"),
        (700, "has damaged XMP"),
        (34675, "has a damaged colour profile (ICC)"),
    ],
)
def test_metadata_that_lies_outside_of_a_tiff_is_told_and_left_out(tmp_path, tag, name):
    path = sources.full_tiff(tmp_path / "whole.tif")
    assert probe(path).notes == ()
    expected, stored = read_image(path), vars(read_metadata(path))
    for changes in ({"value": 10**8}, {"value": 2**32 - 1}):
        path = tiff_with(tmp_path / "a.tif", tag, **changes)
        assert [*probe(path).notes] == [f"{name}, which is ignored"]
        np.testing.assert_array_equal(read_image(path), expected)
        assert vars(read_metadata(path)) != stored


@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_exif_that_is_none_is_told_and_left_out(tmp_path, kind):
    exif = b"Exif\0\0no block of EXIF"
    if kind == "jpg":
        data = jpeg_bytes(photo(), exif=exif)
    else:
        data = png_bytes(Image.fromarray(photo()), exif=exif)
    path = file_with(tmp_path / f"a.{kind}", data)
    assert probe(path).notes == ("has damaged EXIF, which is ignored",)
    assert read_metadata(path).exif is None


def with_pixels(change):
    """A PNG of `photo` whose filtered rows are changed before they are deflated."""
    rows = b"".join(b"\0" + row.tobytes() for row in photo())
    header = struct.pack(">IIBBBBB", 130, 96, 8, 2, 0, 0, 0)
    body = png_chunk(b"IDAT", change(zlib.compress(rows), rows))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


ODD_PNGS = {
    "more pixels than it needs": with_pixels(lambda _, rows: zlib.compress(rows + bytes(99))),
    "bytes behind the pixels": with_pixels(lambda packed, _: packed + bytes(99)),
    "a wrong sum behind the pixels": with_pixels(lambda packed, _: packed[:-4] + bytes(4)),
    "a wrong sum and more": with_pixels(lambda packed, _: packed[:-4] + bytes(40)),
    "a wrong checksum of the end": with_pixels(lambda packed, _: packed)[:-4] + b"abcd",
    "no end": with_pixels(lambda packed, _: packed)[:-12],
    "a trailer": with_pixels(lambda packed, _: packed) + b"trailer",
}


@pytest.mark.parametrize("name", ODD_PNGS)
def test_an_odd_png_has_the_pixels_that_it_has_in_order(tmp_path, caplog, capfd, name):
    path = file_with(tmp_path / "a.png", ODD_PNGS[name])
    np.testing.assert_array_equal(read_image(path), photo())
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "change",
    [
        lambda _, rows: zlib.compress(rows[:-700])[:-4] + bytes(4),
        lambda _, rows: zlib.compress(rows[:-700]),
        lambda _, rows: zlib.compress(b"\x09" + rows[1:]),
    ],
)
def test_a_png_whose_pixels_are_damaged_is_refused_without_a_line_of_libpng(
    tmp_path, caplog, capfd, change
):
    path = file_with(tmp_path / "a.png", with_pixels(change))
    with pytest.raises(ImageError, match="damaged or incomplete"):
        read_image(path)
    assert not caplog.records
    assert capfd.readouterr() == ("", "")


def test_a_chain_of_directories_that_leads_back_is_no_stack(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), photometric="rgb", metadata=None)
    with tifffile.TiffFile(path) as tiff:
        start, count = tiff.pages.first.offset, len(tiff.pages.first.tags)
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, start + 2 + 12 * count, start)
    np.testing.assert_array_equal(read_image(file_with(path, data)), photo())


@pytest.mark.skipif(not shutil.which("jpegtran"), reason="needs jpegtran")
def test_the_remedy_for_a_jpeg_without_end_cures_it(tmp_path):
    path = file_with(tmp_path / "in.jpg", PLAIN[:-2])
    with pytest.raises(ImageError, match=FORMATS["jpeg"].rewrite):
        read_image(path)
    subprocess.run(FORMATS["jpeg"].rewrite, shell=True, cwd=tmp_path, capture_output=True)
    expected = read_image(file_with(tmp_path / "plain.jpg", PLAIN))
    np.testing.assert_array_equal(read_image(tmp_path / "out.jpg"), expected)


def is_there(command):
    """Whether a tool runs; one that stands in for ImageMagick may not."""
    version = {"convert": "convert -version", "jpegtran": "jpegtran -version", "djxl": "djxl -V"}
    if shutil.which(command) is None:
        return False
    done = subprocess.run(version.get(command, "true").split(), capture_output=True, text=True)
    return done.returncode == 0 and (command != "convert" or "ImageMagick" in done.stdout)


def far_back():
    """A PNG whose pixels claim a smaller window than they need, as some programs write."""
    rows = (b"\0" + noise((1, 520)).tobytes() + b"\0" * 100) * 4

    def change(packed, _):
        flags = next(one for one in range(256) if (0x0800 + one) % 31 == 0)
        return bytes((0x08, flags)) + zlib.compress(rows)[2:]

    header = struct.pack(">IIBBBBB", 620, 4, 8, 0, 0, 0, 0)
    return with_pixels(change).replace(
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 130, 96, 8, 2, 0, 0, 0)),
        png_chunk(b"IHDR", header),
    )


def tiff_of(mode):
    buffer = io.BytesIO()
    Image.fromarray(photo()).convert(mode).save(buffer, "TIFF")
    return buffer.getvalue()


def cmyk_jpeg():
    buffer = io.BytesIO()
    Image.fromarray(photo()).convert("CMYK").save(buffer, "JPEG", quality=95)
    return buffer.getvalue()


REFUSED = {
    "in.jpg": {"cmyk": cmyk_jpeg},
    "in.png": {
        "alpha": lambda: png_bytes(Image.fromarray(photo()).convert("RGBA")),
        "transparent": lambda: png_bytes(Image.fromarray(photo()), transparency=(1, 2, 3)),
        "far back": far_back,
    },
    "in.tif": {
        **{mode: partial(tiff_of, mode) for mode in ("CMYK", "RGBA", "LA", "LAB", "P", "YCbCr")},
    },
    "in.webp": {"webp": lambda: saved("WEBP")},
    "in.gif": {"gif": lambda: saved("GIF")},
    "in.bmp": {"bmp": lambda: saved("BMP")},
    "in.jp2": {"jpeg 2000": lambda: saved("JPEG2000")},
    "in.jxl": {"jpeg xl": lambda: imagecodecs.jpegxl_encode(photo())},
    "in.avif": {"avif": lambda: imagecodecs.avif_encode(photo())},
}


@pytest.mark.parametrize(
    ("name", "what"), [(name, what) for name, kinds in REFUSED.items() for what in kinds]
)
def test_the_command_that_a_message_names_makes_a_frame(tmp_path, name, what):
    path = file_with(tmp_path / name, REFUSED[name][what]())
    with pytest.raises(ImageError, match=r"e\.g\. \w+ .*in\.") as caught:
        read_image(path)
    command = str(caught.value).rpartition("e.g. ")[2]
    if not is_there(command.split()[0]):
        pytest.skip(f"{command.split()[0]} is not installed")
    subprocess.run(command, shell=True, cwd=tmp_path, capture_output=True)
    found = read_image(next(tmp_path.glob("out.*")))
    if what == "far back":
        assert found.shape == (4, 620)
    else:
        expected = np.asarray(Image.fromarray(photo()).convert("L")) if what == "LA" else photo()
        assert np.abs(found.astype(int) - expected).mean() < 20  # of a palette


STORED = photo()
GREY = STORED[..., 1]
LIGHT = (STORED / np.float32(255) * 1.3).astype(np.float32)  # above white in places
DEEP = (STORED.astype(np.uint16) * 257) >> 4


def with_alpha(pixels):
    return np.dstack([pixels, np.full(pixels.shape[:2], 1, pixels.dtype)])


def tiff_bytes(pixels, photometric="rgb", **options):
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, pixels, photometric=photometric, metadata=None, **options)
    return buffer.getvalue()


ALPHA = {"extrasamples": ["unassalpha"]}
# What is refused, and the pixels that the command of the message makes of it.
REWRITTEN = {
    "float alpha": ("in.tif", lambda: tiff_bytes(with_alpha(LIGHT), **ALPHA), LIGHT),
    "float planes": (
        "in.tif",
        lambda: tiff_bytes(
            np.moveaxis(with_alpha(LIGHT), -1, 0).copy(), planarconfig="separate", **ALPHA
        ),
        LIGHT,
    ),
    "float grey alpha": (
        "in.tif",
        lambda: tiff_bytes(with_alpha(LIGHT[..., 1]), "minisblack", planarconfig="contig", **ALPHA),
        LIGHT[..., 1],
    ),
    "half alpha": (
        "in.tif",
        lambda: tiff_bytes(with_alpha(LIGHT.astype(np.float16)), **ALPHA),
        LIGHT.astype(np.float16).astype(np.float32),
    ),
    "two extra": (
        "in.tif",
        lambda: tiff_bytes(np.dstack([STORED, GREY, GREY]), extrasamples=["unspecified"] * 2),
        STORED,
    ),
    "double": ("in.tif", lambda: tiff_bytes(LIGHT.astype(np.float64)), LIGHT),
    "signed": ("in.tif", lambda: tiff_bytes(DEEP.astype(np.int16)), DEEP.astype(np.float32)),
    "long": (
        "in.tif",
        lambda: tiff_bytes(GREY.astype(np.uint32) * 1000, "minisblack"),
        GREY.astype(np.float32) * 1000,
    ),
    "complex": (
        "in.tif",
        lambda: tiff_bytes(LIGHT[..., 1].astype(np.complex64), "minisblack"),
        LIGHT[..., 1],
    ),
    "bits": (
        "in.tif",
        lambda: tiff_bytes(GREY > 99, "minisblack"),
        (GREY > 99) * np.uint8(255),
    ),
    "4 bits": (
        "in.tif",
        lambda: tiff_bytes(GREY >> 4, "minisblack", bitspersample=4),
        (GREY >> 4) * np.uint8(17),
    ),
    "12 bits": ("in.tif", lambda: tiff_bytes(DEEP, bitspersample=12), DEEP),
    "white is 0 of 12 bits": (
        "in.tif",
        lambda: tiff_bytes(4095 - DEEP[..., 1], "miniswhite", bitspersample=12),
        DEEP[..., 1],
    ),
    "white is 0 of 4095": (
        "in.tif",
        lambda: tiff_bytes(
            4095 - DEEP[..., 1], "miniswhite", extratags=[(281, "H", 1, 4095, True)]
        ),
        DEEP[..., 1],
    ),
    "white is 0": ("in.tif", lambda: tiff_bytes(1 - LIGHT[..., 1], "miniswhite"), LIGHT[..., 1]),
    "JPEG-LS": ("in.jpg", lambda: imagecodecs.jpegls_encode(GREY.copy()), GREY),
    "JPEG-LS in colour": ("in.jpg", lambda: imagecodecs.jpegls_encode(smooth(STORED)), None),
    "deep JPEG-LS": ("in.jpg", lambda: imagecodecs.jpegls_encode(smooth(DEEP)), None),
    "12-bit JPEG": (
        "in.jpg",
        lambda: imagecodecs.jpeg8_encode(smooth(DEEP), bitspersample=12, level=100),
        None,
    ),
    "grey 12-bit JPEG": (
        "in.jpg",
        lambda: imagecodecs.jpeg8_encode(DEEP[..., 1].copy(), bitspersample=12, level=100),
        DEEP[..., 1],
    ),
    "16-bit JPEG": (
        "in.jpg",
        lambda: imagecodecs.jpeg8_encode(smooth(DEEP), bitspersample=16, lossless=True),
        None,
    ),
}


def smooth(pixels):
    """What compresses so well that the encoder of JPEG-LS has room for it."""
    return np.ascontiguousarray(np.repeat(np.repeat(pixels[:24, :32], 4, 0), 4, 1))


@pytest.mark.parametrize("name", REWRITTEN)
def test_the_lines_of_python_that_a_message_names_make_a_frame(tmp_path, name):
    file_name, make, expected = REWRITTEN[name]
    path = file_with(tmp_path / file_name, make())
    with pytest.raises(ImageError, match=r"is not supported; .*e\.g\. python -c ") as caught:
        probe(path)
    command = str(caught.value).partition("e.g. python ")[2]
    subprocess.run(f"{sys.executable} {command}", shell=True, cwd=tmp_path, check=True)
    made = tmp_path / "out.tif"
    if expected is None:
        expected = smooth(STORED if name == "JPEG-LS in colour" else DEEP)
    tolerance = {"12-bit JPEG": 80, "grey 12-bit JPEG": 4}.get(name, 1e-6)  # colour is halved
    np.testing.assert_allclose(read_image(made), expected, rtol=0, atol=tolerance)
    if "12" in name:
        assert probe(made).data_range == 4095


# --- TIFF that says wrong how long its strips are


def with_counts(path, change):
    """The file with other StripByteCounts or TileByteCounts."""
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tags = tiff.pages.first.tags
        tag = tags[279] if 279 in tags else tags[325]
        values = tag.value if isinstance(tag.value, tuple) else (tag.value,)
        tag.overwrite(tuple(map(change, values)), dtype="I")
    return path


CODED = [None, "zlib", "lzw", "packbits", "zstd", "lzma", "jpeg"]


@pytest.mark.parametrize("change", [lambda count: 0, lambda count: count + 10**6])
@pytest.mark.parametrize("compression", CODED)
@pytest.mark.parametrize("layout", [{}, {"rowsperstrip": 16}, {"tile": (32, 48)}])
def test_wrong_byte_counts_are_mended(tmp_path, compression, layout, change):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), photometric="rgb", compression=compression, **layout)
    expected = read_image(path)
    np.testing.assert_array_equal(read_image(with_counts(path, change)), expected)


@pytest.mark.parametrize("compression", CODED)
@pytest.mark.parametrize("layout", [{}, {"tile": (32, 48)}])
def test_a_tiff_that_is_cut_off_is_refused_by_its_header_if_pixels_are_missing(
    tmp_path, compression, layout
):
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, noise((96, 130, 3)), photometric="rgb", compression=compression, **layout
    )
    with tifffile.TiffFile(path) as tiff:
        page = tiff.pages.first
        assert page.offset < page.dataoffsets[0]
        end = page.dataoffsets[-1] + page.databytecounts[-1]
    expected, refused = read_image(path), 0
    for cut in (1, 9, 500):
        file_with(path, path.read_bytes()[: end - cut])
        try:
            probe(path)
        except ImageError as error:
            assert "copy it again" in str(error)
            refused += 1
        else:  # some encodings end with bytes that no pixel needs
            np.testing.assert_array_equal(read_image(path), expected)
    assert refused


# --- what is no picture


def raw_tiff(path, sensor=32803, **tags):
    """A thumbnail with sensor data below it, as cameras write."""
    with tifffile.TiffWriter(path) as writer:
        writer.write(photo(12, 16), photometric="rgb", subfiletype=1, subifds=1, metadata=None)
        shape = (48, 64, 3) if sensor == 34892 else (48, 64)
        writer.write(noise(shape, "uint16"), photometric=sensor, metadata=None)
    return path


@pytest.mark.parametrize("suffix", ["nef", "DNG", "arw", "tif"])
@pytest.mark.parametrize("sensor", [32803, 34892])
def test_camera_raw_is_refused_by_name(tmp_path, suffix, sensor):
    path = raw_tiff(tmp_path / f"a.{suffix}", sensor)
    name = "" if suffix == "tif" else rf" \({suffix.upper()}\)"
    with pytest.raises(ImageError, match=rf"is camera raw{name}, which is not read; develop all"):
        probe(path)


@pytest.mark.parametrize("mark", [b"CR\2\0\x10\0\0\0", b"IIII\4waR"])
def test_camera_raw_is_known_by_its_mark(tmp_path, mark):
    path = tmp_path / "a.raw"
    tifffile.imwrite(path, photo(), photometric="rgb", metadata=None)
    data = path.read_bytes()
    (start,) = struct.unpack_from("<I", data, 4)
    # Room for the mark is made in front, where cameras have it, by a second copy of the tags.
    (count,) = struct.unpack_from("<H", data, start)
    tags = data[start : start + 6 + 12 * count]
    moved = struct.pack("<4sI", data[:4], len(data)) + mark + data[8 + len(mark) :] + tags
    with pytest.raises(ImageError, match="camera raw"):
        probe(file_with(path, moved))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("corner", [b"IIII", b"MMMM", b"CRCR", b"CR\2\0IIII", b"IIIIIwaR"])
def test_pixels_behind_the_header_are_no_mark_of_camera_raw(tmp_path, corner, order):
    pixels = np.frombuffer(corner * 96, np.uint8).reshape(24, -1)
    form = {"<": b"II*\0", ">": b"MM\0*"}[order]
    tags = [(256, 3, pixels.shape[1]), (257, 3, 24), (258, 3, 8), (259, 3, 1), (262, 3, 1)]
    tags += [(273, 4, 8), (277, 3, 1), (278, 3, 24), (279, 4, pixels.size)]
    entries = b"".join(
        struct.pack(order + "HHI", tag, kind, 1)
        + struct.pack(order + {3: "H", 4: "I"}[kind], value).ljust(4, b"\0")
        for tag, kind, value in tags
    )
    directory = struct.pack(order + "H", len(tags)) + entries + bytes(4)
    data = form + struct.pack(order + "I", 8 + pixels.size) + pixels.tobytes() + directory
    np.testing.assert_array_equal(read_image(file_with(tmp_path / "a.tif", data)), pixels)


def test_pixels_behind_the_header_are_no_mark_though_few_bytes_are_like_one(tmp_path):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), photometric="rgb", metadata=None)
    data = bytearray(path.read_bytes())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    tags = bytes(data[start : start + 6 + 12 * count])
    moved = struct.pack("<4sI", bytes(data[:4]), len(data)) + b"IIII" + bytes(data[12:]) + tags
    assert probe(file_with(path, moved)).shape == photo().shape


def test_an_image_below_a_thumbnail_is_not_taken_for_none(tmp_path):
    with pytest.raises(ImageError, match="begins with a thumbnail"):
        probe(raw_tiff(tmp_path / "a.tif", sensor="minisblack"))


def test_smaller_copies_below_an_image_do_not_matter(tmp_path):
    path = tmp_path / "a.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(photo(), photometric="rgb", subifds=1, metadata=None)
        writer.write(photo()[::2, ::2], photometric="rgb", subfiletype=1, metadata=None)
    np.testing.assert_array_equal(read_image(path), photo())


def saved(kind, **options):
    buffer = io.BytesIO()
    Image.fromarray(photo()).save(buffer, kind, **options)
    return buffer.getvalue()


FOREIGN = {
    "WebP": saved("WEBP"),
    "GIF": saved("GIF"),
    "BMP": saved("BMP"),
    "JPEG 2000": saved("JPEG2000"),
    "HEIC": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99),
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1" + bytes(99),
    "JPEG XL": b"\xff\x0a" + bytes(99),
    r"camera raw \(CR3\)": b"\0\0\0\x18ftypcrx \0\0\0\1crx isom" + bytes(99),
    r"camera raw \(RAF\)": b"FUJIFILMCCD-RAW 0201FF383502" + bytes(99),
    r"camera raw \(ORF\)": b"IIRO\x08\0\0\0" + bytes(99),
    r"camera raw \(RW2\)": b"IIU\0\x18\0\0\0" + bytes(99),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_other_formats_are_refused_by_name_with_a_remedy(tmp_path, name):
    with pytest.raises(ImageError, match=f"is a {name} file, which is not read; (convert|develop)"):
        probe(file_with(tmp_path / "a.jpg", FOREIGN[name]))


def split(path):
    """The frames that the command makes which the refusal of a page stack names."""
    with pytest.raises(PageStackError, match=r"holds \d pages") as caught:
        probe(path)
    _, _, command = str(caught.value).partition("e.g. python ")
    command, _, pattern = command.rpartition(", and give ")
    subprocess.run(f"{sys.executable} {command}", shell=True, check=True)
    return sorted(path.parent.glob(ast.literal_eval(pattern).rpartition("/")[2]))


def pages_of(kind, path):
    """Write a file of several pages; return these."""
    if kind == "unlike":
        pages = [noise((24, 33)), noise((30, 40))]
        with tifffile.TiffWriter(path) as writer:
            for page in pages:
                writer.write(page, resolution=(300, 150), resolutionunit=2, metadata=None)
        return pages
    colour = "colour" in kind
    shape = (3, 2, 24, 33) if kind == "hyperstack" else (5, 24, 33, 3) if colour else (5, 24, 33)
    pages, how = noise(shape), {"photometric": "rgb" if colour else "minisblack"}
    if kind == "hyperstack":
        how |= {"imagej": True, "metadata": {"axes": "ZCYX", "unit": "um"}, "resolution": (4, 2)}
    elif kind == "MetaMorph":
        planes = [(33629, 5, 5, (1, 1) * 5, True)]
        how |= {"metadata": None, "rowsperstrip": 24}
        path.write_bytes(b"")
        tifffile.imwrite(path, pages[0], extratags=planes, **how)
        with path.open("ab") as file:  # the first plane is the last thing in the file
            file.write(pages[1:].tobytes())
        return pages
    else:
        how |= {"imagej": "ImageJ" in kind, "truncate": "behind" in kind}
        how |= {"resolution": (300, 150), "resolutionunit": 2} if "ImageJ" not in kind else {}
    tifffile.imwrite(path, pages, **how)
    return pages.reshape(-1, *shape[-3 if colour else -2 :])


PAGES = ("grey", "colour", "ImageJ", "ImageJ colour", "unlike", "hyperstack", "behind")


@pytest.mark.parametrize("kind", [*PAGES, "colour behind"])
def test_the_remedy_for_a_page_stack_makes_frames_of_it(tmp_path, kind):
    path = tmp_path / "a 'z'.tif"
    pages = pages_of(kind, path)
    frames = split(path)
    assert len(frames) == len(pages)
    for page, frame in zip(pages, frames, strict=True):
        np.testing.assert_array_equal(read_image(frame), page)
        if "ImageJ" not in kind:
            expected = (4 * 25400, 2 * 25400) if kind == "hyperstack" else (300, 150)
            assert read_metadata(frame).resolution == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("how", [{"imagej": True}, {"ome": True}])
@pytest.mark.parametrize("channels", [1, 2])
def test_pages_of_several_channels_are_told_as_such(tmp_path, how, channels):
    path = tmp_path / ("a.ome.tif" if "ome" in how else "a.tif")
    pages = noise((3, channels, 24, 33))
    tifffile.imwrite(path, pages, photometric="minisblack", metadata={"axes": "ZCYX"}, **how)
    told = " of 2 channels, each a stack of its own" if channels == 2 else ""
    with pytest.raises(PageStackError, match=f"holds {3 * channels} pages{told}, a frame must be"):
        probe(path)
    colour = noise((3, 24, 33, 3))
    tifffile.imwrite(path, colour, photometric="rgb", metadata={"axes": "ZYXS"}, **how)
    with pytest.raises(PageStackError, match="holds 3 pages, a frame must be"):
        probe(path)


def test_planes_of_metamorph_behind_the_first_are_not_dropped(tmp_path):
    path = tmp_path / "a.stk"
    pages_of("MetaMorph", path)
    with pytest.raises(PageStackError, match="holds 5 pages"):
        probe(path)


def test_pages_that_a_description_left_over_tells_of_are_none(tmp_path):
    path, page = tmp_path / "a.tif", noise((24, 33))
    for text in ('{"shape": [5, 24, 33]}', "shape=(5, 24, 33)", "ImageJ=1.53t\nimages=5\n"):
        tifffile.imwrite(path, page, metadata=None, description=text)
        np.testing.assert_array_equal(read_image(path), page)


def test_a_film_in_png_is_not_taken_for_its_first_picture(tmp_path):
    path = tmp_path / "a b.png"
    one, *others = (Image.fromarray(noise((24, 33, 3), seed=n)) for n in range(3))
    one.save(path, save_all=True, append_images=others)
    frames = split(path)
    assert len(frames) == 3
    for picture, frame in zip((one, *others), frames, strict=True):
        np.testing.assert_array_equal(read_image(frame), np.asarray(picture))


# --- what headers tell of a frame


@pytest.mark.parametrize(
    ("tags", "expected", "of_floats"),
    [
        ({}, None, None),
        ({"extratags": [(281, "H", 1, 4095, True)]}, 4095, 4095),
        ({"extratags": [(281, "H", 3, (3900, 12, 9), True)]}, 4095, 4095),
        ({"extratags": [(281, "H", 1, 65535, True)]}, 65535, 65535),
        ({"extratags": [(281, "H", 1, 0, True)]}, None, None),
        ({"extratags": [(341, "H", 1, 4095, True)]}, 4095, 4095),
        ({"extratags": [(341, "f", 1, 0.75, True)]}, None, 1),
        ({"extratags": [(341, "f", 1, 4000.5, True)]}, 4095, 4095),
        ({"extratags": [(341, "f", 1, float("nan"), True)]}, None, None),
        ({"extratags": [(341, "s", 0, "4095", True)]}, None, None),
        ({"description": '<OME><Pixels SignificantBits="14"/></OME>'}, 2**14 - 1, None),
        ({"description": '<OME><Pixels SignificantBits="16"/></OME>'}, None, None),
        ({"description": '{"BitDepth": 10}'}, 1023, None),
        ({"description": '{"BitDepth": 16}'}, 65535, None),
    ],
)
def test_tags_tell_which_value_is_white(tmp_path, tags, expected, of_floats):
    for dtype, white in (("uint16", expected), ("float32", of_floats), ("uint8", None)):
        tifffile.imwrite(tmp_path / "a.tif", noise((8, 9), dtype), metadata=None, **tags)
        assert probe(tmp_path / "a.tif").data_range == white


@pytest.mark.parametrize(("bits", "expected"), [(12, 4095), (16, 65535), (0, None), (17, None)])
def test_significant_bits_of_a_png_tell_which_value_is_white(tmp_path, bits, expected):
    data = png_bytes(Image.fromarray(noise((8, 9), "uint16")))
    assert probe(file_with(tmp_path / "a.png", data)).data_range is None
    data = data[:33] + png_chunk(b"sBIT", bytes([bits])) + data[33:]
    assert probe(file_with(tmp_path / "a.png", data)).data_range == expected


def olympus_note(mode):
    """A maker note as OM System writes it, its stacking mode in the camera settings."""
    settings = struct.pack("<HHHIII", 1, 0x0804, 4, 2, 16 + 18 + 18, 0)
    link = struct.pack("<HHHIII", 1, 0x2020, 13, 1, 16 + 18, 0)
    return b"OM SYSTEM\0\0\0II\4\0" + link + settings + struct.pack("<II", mode, 8)


def test_what_makers_keep_in_segments_of_their_own_is_told(tmp_path):
    known = (
        segment(0xE2, b"MPF\0II*\0")
        + segment(0xE0, b"JFXX\0\x10")
        + segment(0xEE, b"Adobe\0d\0\0\0\0\1")
    )
    path = file_with(tmp_path / "a.jpg", PLAIN[:20] + known + PLAIN[20:])
    assert read_metadata(path).lost == ()
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + bytes(40))
    own = segment(0xEC, b"[picture info]\rShutter=3")
    path = file_with(tmp_path / "a.jpg", PLAIN[:20] + extended + own + PLAIN[20:])
    assert read_metadata(path).lost == ("extended XMP", "segments that only its maker knows")


@pytest.mark.parametrize("channels", [1, 3])
def test_a_profile_for_other_pixels_is_told_and_left_out(tmp_path, channels):
    grey = imagecodecs.cms_profile("gray", gamma=2.2, whitepoint=(0.3457, 0.3585, 1.0))
    profiles = {1: bytes(grey), 3: SRGB}
    for kind, profile in profiles.items():
        target = tmp_path / "a.tif"
        metadata = Metadata(icc=profile)
        written = write_image(target, photo(channels=channels), Encoding(metadata=metadata))
        told = () if kind == channels else ("a colour profile that is not for its kind of pixels",)
        assert written.lost == told
        assert read_metadata(target).icc == (profile if kind == channels else None)


def test_tags_of_printers_and_of_exif_in_the_main_directory_are_kept(tmp_path):
    tags = Image.Exif()
    tags[0xC4A5], tags[0xA402], tags[0xA404] = b"PrintIM\x000300\0\0", 1, IFDRational(2)
    source = file_with(tmp_path / "a.jpg", jpeg_bytes(photo(), exif=tags.tobytes()))
    write_image(tmp_path / "a.tif", photo(), Encoding(metadata=read_metadata(source)))
    with tifffile.TiffFile(tmp_path / "a.tif") as tiff:
        found = tiff.pages.first.tags
        assert found.valueof(0xC4A5) == b"PrintIM\x000300\0\0"
        taking = found.valueof(34665)  # where they belong
        assert (taking["ExposureMode"], taking["DigitalZoomRatio"]) == (1, (2, 1))


def exif_of(**tags):
    block = Image.Exif()
    for tag, value in tags.items():
        place = block if tag == "Software" else block.get_ifd(0x8769)
        place[getattr(__import__("PIL.ExifTags").ExifTags.Base, tag)] = value
    return block.tobytes()


SHOTS = {
    "time": (
        {"DateTimeOriginal": "2024:05:01 12:00:03", "SubsecTimeOriginal": "25"},
        ("2024:05:01 12:00:03.25", None),
    ),
    "no time": ({"DateTimeOriginal": "0000:00:00 00:00:00"}, (None, None)),
    "program": ({"Software": "Helicon Focus 8"}, (None, "was made by 'Helicon Focus 8'")),
    "composite": (
        {"CompositeImage": 3},
        (None, "is a composite of several pictures, says its EXIF"),
    ),
    "no composite": ({"CompositeImage": 1}, (None, None)),
    "stacked in the camera": (
        {"MakerNote": olympus_note(9)},
        (None, "was stacked in the camera, says its maker note"),
    ),
    "not stacked": ({"MakerNote": olympus_note(0)}, (None, None)),
}


@pytest.mark.parametrize("name", SHOTS)
@pytest.mark.parametrize("kind", ["jpg", "png"])
def test_exif_tells_how_a_frame_was_taken(tmp_path, kind, name):
    tags, expected = SHOTS[name]
    exif = exif_of(**tags)
    data = (
        jpeg_bytes(photo(), exif=exif)
        if kind == "jpg"
        else png_bytes(Image.fromarray(photo()), exif=exif)
    )
    assert tuple(probe(file_with(tmp_path / f"a.{kind}", data)).shot) == expected


PACKET = """<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
 xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""
 xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
 xmlns:tiff="http://ns.adobe.com/tiff/1.0/" {}</rdf:Description></rdf:RDF></x:xmpmeta>"""
PROGRAMS = {
    "attribute": (' xmp:CreatorTool="Zerene Stacker 1.04">', "Zerene Stacker 1.04"),
    "element": ("><xmp:CreatorTool>Helicon Focus 8</xmp:CreatorTool>", "Helicon Focus 8"),
    "software": ("><tiff:Software> PICOLAY </tiff:Software>", "PICOLAY"),
    "long": (f' xmp:CreatorTool="by batchstack, {"with options " * 9}">', "batchstack"),
    "editor": (' xmp:CreatorTool="Adobe Photoshop 24.0">', None),
    "keyword": ("><dc:title>for Zerene</dc:title>", None),
}


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
@pytest.mark.parametrize("coding", ["utf-8", "utf-16"])
def test_xmp_tells_which_program_made_a_picture(tmp_path, kind, coding, name):
    said, program = PROGRAMS[name]
    packet = PACKET.format(said).encode(coding)
    path = tmp_path / f"a.{kind}"
    if kind == "jpg":
        Image.fromarray(photo()).save(path, xmp=packet)
    elif kind == "png":
        text = png_chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
        file_with(path, PNG[:33] + text + PNG[33:])
    else:
        tags = [(700, "B", len(packet), packet, True)]
        tifffile.imwrite(path, photo(), metadata=None, extratags=tags)
    expected = f"was made by {program!r}" if program else None
    assert probe(path).shot.made_of == expected
    assert read_shot(tmp_path, path.name).made_of == expected


@pytest.mark.parametrize(
    ("kind", "form"), [(1, "B"), (3, "H"), (4, "I"), (6, "b"), (8, "h"), (9, "i")]
)
@pytest.mark.parametrize("order", "<>")
def test_an_orientation_of_any_whole_type_turns_the_frame(tmp_path, order, kind, form):
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "IH", 8, 1)
    value = struct.pack(order + form, 6).ljust(4, b"\0")
    exif = head + struct.pack(order + "HHI", 274, kind, 1) + value + bytes(4)
    path = file_with(tmp_path / "a.jpg", jpeg_bytes(photo(40, 60), exif=b"Exif\0\0" + exif))
    assert (probe(path).orientation, probe(path).shape) == (6, (60, 40, 3))
    assert exif_orientation(read_metadata(path).exif) == 1
    tiff = tmp_path / "a.tif"
    extratags = [(274, kind, 1, 6, True)]
    tifffile.imwrite(tiff, photo(40, 60), photometric="rgb", metadata=None, extratags=extratags)
    assert probe(tiff).shape == (60, 40, 3)


def test_what_tifffile_logs_is_not_shown_by_reading(tmp_path, caplog):
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), photometric="rgb", rowsperstrip=16)
    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages.first.tags[279].overwrite((1,), dtype="I")  # which tifffile warns of
    caplog.clear()
    with caplog.at_level(logging.DEBUG):
        with pytest.raises(ImageError):
            read_image(path)
        assert not caplog.records
        with tifffile.TiffFile(path) as tiff:  # as others may use it
            assert tiff.pages.first
        assert caplog.records


def test_a_damaged_exif_block_is_no_reason_to_refuse(tmp_path):
    for cut in range(0, len(exif_block(6)), 7):
        data = jpeg_bytes(photo(), exif=b"Exif\0\0" + exif_block(6)[:cut])
        assert probe(file_with(tmp_path / "a.jpg", data)).width in photo().shape
