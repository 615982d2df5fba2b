"""Every cell of the table in docs/files.md, written and read back by another program."""

import io
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from PIL import Image, ImageCms

from batchstack.formats import FORMATS
from batchstack.images import Encoding, probe, read_image, read_metadata, write_image
from batchstack.images.exif_block import parse
from tests.images import sources
from tests.images.samples import SRGB, photo, png_chunk

DOCUMENT = (Path(__file__).parents[2] / "docs" / "files.md").read_text()
KINDS = ("jpeg", "png", "tiff")
SOFTWARE = json.dumps({"software": "batchstack", "version": "1"})
EXIFTOOL = shutil.which("exiftool")
EXIV2 = shutil.which("exiv2")
OME = (
    '<?xml version="1.0"?><OME><Image><Pixels SizeZ="4" PhysicalSizeX="0.325"'
    ' PhysicalSizeY="0.65"/></Image></OME>'
)
# What the EXIF block begins behind.
BEFORE = {"jpeg": b"Exif\0\0", "png": b"eXIf", "tiff": b""}
PAIRS = [(one, other) for one in KINDS for other in KINDS]


def table():
    """The cells of the first table by what they are of and their column."""
    lines = re.search(r"\| what \| JPEG in.*?\n\n", DOCUMENT, re.DOTALL)[0].strip().splitlines()
    head, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in lines)
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


def exiftool(path):
    command = [EXIFTOOL, "-j", "-G1", "-n", "-a", "-U", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return json.loads(done.stdout)[0]


def fuse(source, kind, folder):
    """An output that inherits from a source; smaller, as if cropped."""
    target = folder / f"output{FORMATS[kind].suffix}"
    pixels = read_image(source)[:50, :40]
    write_image(target, pixels, Encoding(metadata=read_metadata(source), software=SOFTWARE))
    return target


@pytest.fixture(
    scope="module", params=[(one, other) for one in KINDS for other in KINDS], ids="-".join
)
def output(request, tmp_path_factory):
    """What another program finds in an output that inherits all there is."""
    if EXIFTOOL is None:
        pytest.skip("exiftool is not installed")
    folder = tmp_path_factory.mktemp("cells")
    source, kind = request.param
    path = fuse(sources.full(source, folder), kind, folder)
    return exiftool(path) | {"kind": kind, "from": source, "bytes": path.read_bytes()}


def value(found, name):
    """The only value of a tag, in whatever group."""
    values = {json.dumps(v) for key, v in found.items() if key.rpartition(":")[2] == name}
    assert len(values) <= 1, (name, values)
    return json.loads(values.pop()) if values else None


def check_exif(found):
    assert found["ExifIFD:ExposureTime"] == 0.005
    assert (found["IFD0:Make"], found["IFD0:Model"]) == ("Example", "Cam 5")
    assert found["ExifIFD:LensModel"] == "105mm macro"
    assert found["ExifIFD:DateTimeOriginal"] == "2026:01:02 03:04:05"
    assert found["IFD0:Copyright"] == "(c) A. Nonymous"


def check_note(found):
    data, start = found["bytes"], BEFORE[found["kind"]]
    place = parse(sources.block(thumbnail=False)).note_place
    assert data.count(sources.NOTE) == 1
    if found["from"] != "tiff":  # where the maker's offsets suppose it
        assert data.index(sources.NOTE) == data.index(start) + len(start) + place


def check_gps(found):
    assert found["GPS:GPSLatitude"] == pytest.approx(46.95)
    assert found["GPS:GPSLongitude"] == pytest.approx(7 + 26 / 60)


def check_caption(found):
    assert value(found, "ImageDescription") == "beetle"


def check_orientation(found):
    assert value(found, "Orientation") == 1


def check_sizes(found):
    assert (found["ExifIFD:ExifImageWidth"], found["ExifIFD:ExifImageHeight"]) == (40, 50)
    assert (found["XMP-exif:ExifImageWidth"], found["XMP-tiff:ImageWidth"]) == (40, 40)


def check_software(found):
    said = [text for name, text in found.items() if name.endswith(":Software")]
    assert said
    for text in said:
        assert (json.loads(text) if isinstance(text, str) else text) == json.loads(SOFTWARE)


def check_thumbnail(found):
    assert not any("Thumbnail" in name or name.startswith("IFD1") for name in found)


def check_iptc(found):
    assert (found["IPTC:ObjectName"], found["IPTC:Keywords"]) == ("beetle", "macro")


def check_xmp(found):
    assert (found["XMP-dc:Title"], found["XMP-xmp:Rating"]) == ("K\u00e4fer", 4)


def check_announcements(found):
    assert not any(name.startswith(("XMP-hdrgm", "XMP-GCamera", "XMP-Container")) for name in found)


def check_profile(found):
    assert found["ICC_Profile:ProfileDescription"] == "sRGB built-in"


def check_resolution(found):
    # The frames are turned, and with them the axes.
    if found["kind"] == "png":
        x, y = (found[f"PNG-pHYs:PixelsPerUnit{axis}"] * 0.0254 for axis in "XY")
    else:
        group = "JFIF" if found["kind"] == "jpeg" else "IFD0"
        x, y = (found[f"{group}:{axis}Resolution"] for axis in "XY")
    assert (x, y) == pytest.approx((150, 300), rel=1e-3)


def check_others(found):
    assert not any("Comment" in name or name.startswith("Photoshop:Copyright") for name in found)


CHECKS = {
    "EXIF: camera, exposure, lens, dates": check_exif,
    "maker notes": check_note,
    "GPS": check_gps,
    "caption in EXIF or TIFF": check_caption,
    "orientation": check_orientation,
    "sizes in pixels, in EXIF and XMP": check_sizes,
    "software": check_software,
    "thumbnail": check_thumbnail,
    "IPTC": check_iptc,
    "XMP": check_xmp,
    "XMP that announces a gain map, a film or depth": check_announcements,
    "ICC profile": check_profile,
    "resolution": check_resolution,
    "Photoshop's other resources, comments, texts of PNG": check_others,
}
OWN = {  # those with sources of their own, below
    "Adobe RGB by EXIF alone",
    "gAMA, cHRM, sRGB, cICP",
    "how high pixels are for their width, without a unit",
    "pixel size in the words of OME, ImageJ or Micro-Manager",
    "description that a program wrote",
}


def test_the_table_has_what_is_tested():
    cells = table()
    assert cells.keys() == CHECKS.keys() | OWN
    for row in cells.values():
        assert {*list(row.values())[:3]} <= {"read", "none"}
        assert {*list(row.values())[3:]} <= {"kept", "set", "lost"}


@pytest.mark.parametrize("what", CHECKS)
def test_a_cell(output, what):
    CHECKS[what](output)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_what_is_lost_is_said(tmp_path, source, kind):
    metadata = read_metadata(sources.full(source, tmp_path))
    target = tmp_path / f"output{FORMATS[kind].suffix}"
    lost = write_image(target, photo(), Encoding(metadata=metadata)).lost
    assert "XMP that announces what is stored behind the picture" in lost
    said = {
        "jpeg": "a comment",
        "png": "texts in chunks of their own",
        "tiff": "resources of Photoshop",
    }
    assert said[source] in lost
    # It is not there to be lost twice.
    assert read_metadata(target).lost == ()


@pytest.mark.skipif(EXIV2 is None, reason="exiv2 is not installed")
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_exiv2_reads_the_same(tmp_path, source, kind):
    path = fuse(sources.full(source, tmp_path), kind, tmp_path)
    done = subprocess.run([EXIV2, "-pa", str(path)], capture_output=True, check=False)
    said = done.stdout.decode(errors="replace")
    for line in (
        r"Exif.Photo.ExposureTime .* 1/200 s",
        r"Exif.Photo.LensModel .* 105mm macro",
        r"Exif.Photo.PixelXDimension .* 40",
        r"Exif.Image.Orientation .* top, left",
        r"Exif.GPSInfo.GPSLongitude .* 7deg 26' 0",
        r"Exif.Photo.MakerNote +\w+ +215",
        r"Iptc.Application2.Keywords .* macro",
        r"Xmp.xmp.Rating .* 4",
    ):
        assert re.search(line, said), (line, said)
    assert "hdrgm" not in said and "Thumbnail" not in said


# --- rows with sources of their own


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_adobe_rgb_by_exif_alone_becomes_a_profile(tmp_path, source, kind):
    path, words = tmp_path / f"source{FORMATS[source].suffix}", Image.Exif()
    words.load(sources.block(adobe_rgb=True, thumbnail=False))
    if source == "tiff":  # where Pillow writes no directory of interoperability
        words.get_ifd(0x8769)[0xA001] = 2
    Image.fromarray(photo()).save(path, exif=words)
    assert read_metadata(path).icc is None
    assert parse(read_metadata(path).exif).says_adobe_rgb
    found = fuse(path, kind, tmp_path)
    assert b"Adobe RGB (compatible)" in read_metadata(found).icc
    assert parse(read_metadata(found).exif).says_adobe_rgb
    with Image.open(found) as image:
        assert image.info["icc_profile"] == read_metadata(found).icc


CORNERS = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
GAMMA = png_chunk(b"gAMA", (45455).to_bytes(4)) + png_chunk(
    b"cHRM",
    b"".join(v.to_bytes(4) for v in (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)),
)
STATED = {
    "gAMA": GAMMA,
    "sRGB": png_chunk(b"sRGB", b"\0"),
    "cICP": png_chunk(b"cICP", bytes((12, 13, 0, 1))),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", STATED)
@pytest.mark.parametrize("channels", [1, 3])
def test_chunks_of_colour_are_copied_or_become_a_profile(tmp_path, name, kind, channels):
    path = tmp_path / "source.png"
    Image.fromarray(photo(channels=channels)).save(path)
    sources.insert(path, STATED[name])
    found = fuse(path, kind, tmp_path)
    if kind == "png":
        assert STATED[name] in found.read_bytes()
        assert read_metadata(found).icc is None
        return
    icc = read_metadata(found).icc
    assert icc[16:20] == (b"RGB " if channels == 3 else b"GRAY")
    # Little CMS reads it.
    assert ImageCms.ImageCmsProfile(io.BytesIO(icc)).profile.version >= 2


def test_colours_that_no_profile_can_say_are_said_to_be_lost(tmp_path):
    path = tmp_path / "source.png"
    Image.fromarray(photo()).save(path)
    sources.insert(path, png_chunk(b"cICP", bytes((9, 16, 0, 1))))
    metadata = read_metadata(path)
    assert write_image(tmp_path / "a.png", photo(), Encoding(metadata=metadata)).lost == ()
    lost = write_image(tmp_path / "a.tif", photo(), Encoding(metadata=metadata)).lost
    assert lost == ("what its colours mean, for which no profile can be made",)


@pytest.mark.parametrize("kind", KINDS)
def test_the_pixel_size_of_a_machine_is_kept_and_its_words_are_not(tmp_path, kind):
    source = sources.full_tiff(tmp_path / "source.tif", description=OME)
    found = fuse(source, kind, tmp_path)
    x, y = (25400 / value for value in read_metadata(found).resolution)
    assert (x, y) == pytest.approx((0.65, 0.325), rel=1e-4)
    assert b"PhysicalSize" not in found.read_bytes()
    assert probe(found).shape[:2] == (50, 40)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("source", KINDS)
def test_a_description_that_a_program_wrote_is_lost(tmp_path, source, kind):
    words = sources.exif(1)
    words[0x010E] = '{"shape": [4, 96, 130, 3]}'
    path = tmp_path / f"source{FORMATS[source].suffix}"
    Image.fromarray(photo()).save(path, exif=words, icc_profile=SRGB)
    found = fuse(path, kind, tmp_path)
    assert parse(read_metadata(found).exif).text(0x010E) == ""
    assert b'"shape"' not in found.read_bytes()
