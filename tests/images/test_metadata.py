"""What is read, kept and left out of metadata, part by part."""

import json
import struct
import zlib
from io import BytesIO

import numpy as np
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageCms

from batchstack.images import (
    Encoding,
    Metadata,
    descriptions,
    iptc,
    probe,
    read_image,
    read_metadata,
    same_colours,
    write_image,
    xmp,
)
from batchstack.images.colour import agree, stated_profile
from batchstack.images.exif_block import MAKER_NOTE, Exif, Tag, density_of, parse, read
from batchstack.images.inherit import scaled
from tests.images import sources
from tests.images.samples import SRGB, noise, photo, png_chunk

ADOBE = stated_profile(Metadata(exif=sources.block(1, adobe_rgb=True)), 3)

KINDS_OF_FILES = (".jpg", ".png", ".tif")

# --- EXIF

KINDS = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 7: 1, 9: 4, 12: 8}


@st.composite
def directories(draw):
    tags = {}
    for name in draw(st.sets(st.integers(0x1000, 0x7FFF), max_size=3)):
        kind, values = draw(st.sampled_from(sorted(KINDS))), draw(st.integers(1, 9))
        tags[name] = Tag(kind, values, bytes(range(1, values * KINDS[kind] + 1)))
    return tags


@st.composite
def exifs(draw):
    photo_tags = draw(directories())
    place = draw(st.integers(0, 3000))
    if place:
        note = bytes(range(draw(st.integers(17, 255))))
        photo_tags[MAKER_NOTE] = Tag(7, len(note), note)
    order = draw(st.sampled_from("<>"))
    return Exif(order, draw(directories()), photo_tags, draw(directories()), {}, place)


@given(exifs())
def test_a_block_gives_back_what_was_laid_out(exif):
    again = parse(exif.block())
    assert (again.order, again.main, again.photo) == (exif.order, exif.main, exif.photo)
    assert (again.gps, again.interop) == (exif.gps, exif.interop)
    if exif.note_place > 7:
        assert again.note_place == exif.note_place
    assert again.block() == exif.block()


@given(exifs(), st.booleans())
def test_directories_of_a_tiff_give_back_the_same(exif, big):
    if not (exif.photo or exif.gps):
        return
    data, places = exif.beside(big=big)
    order = exif.order_in_tiff
    expected = exif.in_order(order)
    mark = {"<": b"II", ">": b"MM"}[order]
    version = struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    file = mark + version + data
    entries = b"".join(
        struct.pack(order + ("HHQQ" if big else "HHII"), tag, 16 if big else 4, 1, place)
        for tag, place in sorted(places.items())
    )
    count = struct.pack(order + ("Q" if big else "H"), len(places))
    linked = bytearray(file + count + entries + bytes(8))
    struct.pack_into(order + ("Q" if big else "I"), linked, 8 if big else 4, len(file))
    again = read(BytesIO(bytes(linked)))
    assert (again.photo, again.gps) == (expected.photo, expected.gps)


@given(exifs())
def test_other_orders_of_bytes_are_the_same_numbers(exif):
    assert exif.in_order("<").in_order(">").in_order(exif.order) == exif


@given(st.binary(max_size=200), st.sampled_from([b"II*\0", b"MM\0*", b"II+\0", b"MM\0+", b""]))
def test_damaged_exif_stops_nothing(data, head):
    assert parse(parse(head + data).block()) is not None


def test_a_directory_that_claims_too_much_is_bounded():
    entry = struct.pack("<HHII", 0x1000, 7, 2**22, 0)
    entries = b"".join(struct.pack("<H", n) + entry[2:] for n in range(0x1000, 0x1100))
    block = b"II*\0\x08\0\0\0" + struct.pack("<H", 256) + entries + bytes(4) + bytes(2**22)
    assert sum(len(tag.data) for tag in parse(block).main.values()) <= 2**22


def test_a_comment_in_unicode_follows_the_order_of_bytes():
    said = Tag(7, 14, b"UNICODE\0" + "K\u00e4f".encode("utf-16-be"))
    swapped = Exif(">", photo={0x9286: said}).in_order("<")
    assert swapped.photo[0x9286].data[8:].decode("utf-16-le") == "K\u00e4f"


@pytest.mark.parametrize("end", [b"", b"\0"])
def test_a_comment_in_unicode_may_have_any_length(end):
    said = b"UNICODE\0" + "K\u00e4f".encode("utf-16-be") + end
    there = Exif(">", photo={0x9286: Tag(7, len(said), said)})
    back = there.in_order("<").in_order(">")
    assert back == there
    found = there.in_order("<").photo[0x9286].data[8:]
    assert found == "K\u00e4f".encode("utf-16-le") + end


@pytest.mark.parametrize(
    ("resolution", "unit"),
    [
        *(((300, 150), 2), ((78153.8, 78153.8), 3), ((2.54e7, 2.54e7), 3)),
        *(((6.842e6, 25.4e6 / 0.37), 3), ((25.4e9 / 3.7, 25.4e8 / 7), 3), ((0.00254, 1e-5), 2)),
    ],
)
def test_densities_are_exact_enough(resolution, unit):
    found, x, y = density_of(resolution)
    assert found == unit
    per_inch = {2: 1, 3: 2.54}[unit]
    assert (x[0] / x[1] * per_inch, y[0] / y[1] * per_inch) == pytest.approx(resolution, rel=1e-6)
    assert density_of((1e-12, 1e30)) is None


@pytest.mark.parametrize("shape", [(700, 600), (60, 50, 3)])
@pytest.mark.parametrize("kind", ["flat", "noise"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_maker_notes_have_their_order_of_bytes_in_a_tiff(tmp_path, dtype, kind, shape):
    note = struct.pack(">HHHII", 1, 0x0001, 4, 1, 258) + bytes(range(60))
    tags = {MAKER_NOTE: Tag(7, len(note), note), 0x829A: Tag(5, 1, struct.pack(">II", 1, 200))}
    block = Exif(">", {0x010F: Tag(2, 3, b"Mi\0")}, tags, note_place=300).block()
    pixels = np.ones(shape, dtype) if kind == "flat" else noise(shape, dtype)
    path = tmp_path / "a.tif"
    write_image(path, pixels, Encoding(metadata=Metadata(exif=block)))
    assert path.read_bytes()[:2] == b"MM"
    assert path.read_bytes()[300 : 300 + len(note)] == note
    np.testing.assert_array_equal(read_image(path), pixels)
    np.testing.assert_array_equal(tifffile.imread(path), pixels)
    found = parse(read_metadata(path).exif)
    assert (found.order, found.photo[0x829A], found.text(0x010F)) == (">", tags[0x829A], "Mi")


def test_a_png_whose_exif_alone_states_the_resolution_keeps_it(tmp_path):
    ratio = Tag(5, 1, struct.pack(">II", 300, 1))
    block = Exif(">", {0x011A: ratio, 0x011B: ratio}).block()
    Image.fromarray(photo()).save(tmp_path / "a.png", exif=b"Exif\0\0" + block)
    assert read_metadata(tmp_path / "a.png").resolution == (300, 300)


# --- XMP


def test_announcements_go_and_all_else_stays():
    kept = xmp.stripped(sources.XMP).decode()
    for word in ("hdrgm", "GCamera", "Container", "GainMap", "MotionPhoto"):
        assert word not in kept
    for word in ('xmp:Rating="4"', "K\u00e4fer", "x-default", "GPSLatitude", "<?xpacket end"):
        assert word in kept
    assert xmp.stripped(kept.encode()) == kept.encode()


def test_sizes_are_set_in_both_notations():
    said = xmp.fitted(sources.XMP, 50, 40)
    assert b'tiff:ImageWidth="40"' in said
    assert b"<exif:PixelXDimension>40<" in said
    assert xmp.fitted(said, 50, 40) == said


def test_orientation_is_set_in_both_notations():
    assert b'tiff:Orientation="1"' in xmp.upright(sources.XMP)
    assert xmp.upright(b"<tiff:Orientation>8</tiff:Orientation>") == (
        b"<tiff:Orientation>1</tiff:Orientation>"
    )
    assert xmp.upright(b"<dc:title>Orientation 6</dc:title>") == (
        b"<dc:title>Orientation 6</dc:title>"
    )


def test_what_is_no_xml_is_kept_unless_it_seems_to_announce():
    assert xmp.stripped(b"<x:xmpmeta Rating=4") == b"<x:xmpmeta Rating=4"
    assert xmp.stripped(b"<x:xmpmeta hdrgm:Version=1") is None
    assert xmp.without_gps(b"<x exif:GPSLatitude=1") is None
    deep = b"<a>" * 5000 + b"<exif:GPSLatitude xmlns:exif='e'/>" + b"</a>" * 5000
    assert xmp.without_gps(deep) is None


@given(st.binary(max_size=120))
def test_no_packet_stops_anything(data):
    for packet in (data, b"<x>" + data + b"</x>"):
        xmp.stripped(packet)
        xmp.without_gps(packet)
        assert xmp.fitted(packet, 1, 1) or not packet


# --- IPTC


def test_iptc_is_found_among_resources_with_names():
    named = b"8BIM\x04\x0a\x03abc" + struct.pack(">I", 1) + b"\1\0"
    assert iptc.of_resources(named + sources.RESOURCES) == sources.IPTC
    assert iptc.has_others(named) and not iptc.has_others(sources.RESOURCES)
    assert iptc.of_resources(iptc.as_resource(b"\x1c123")) == b"\x1c123"


@given(st.binary(max_size=60))
def test_damaged_resources_stop_nothing(data):
    iptc.either(b"8BIM" + data)
    iptc.has_others(b"8BIM\4\4" + data)


# --- PNG


def test_what_other_programs_write_to_png_as_text_is_read(tmp_path):
    path = sources.full_png(tmp_path / "a.png", raw=True)
    metadata = read_metadata(path)
    assert parse(metadata.exif).text(0x0110) == "Cam 5"
    assert metadata.iptc == sources.IPTC
    assert b"K\xc3\xa4fer" in metadata.xmp
    # It is turned, as its EXIF says.
    assert probe(path).orientation == sources.TURNED


def test_damaged_text_of_png_stops_nothing(tmp_path):
    path = tmp_path / "a.png"
    Image.fromarray(photo()).save(path)
    broken = (b"exif", b"exif\0", b"exif\0\0" + b"no zlib", b"\xff")
    for text in broken:
        sources.insert(path, png_chunk(b"zTXt", b"Raw profile type " + text))
        sources.insert(path, png_chunk(b"tEXt", b"Raw profile type " + text))
    assert read_metadata(path).exif is None


# --- descriptions

METAMORPH = (
    '<MetaData>\r\n<prop id="Description" type="string" value="Exposure: 100 ms"/>\r\n'
    '<prop id="spatial-calibration-x" type="float" value="0.645"/>\r\n'
    '<prop id="spatial-calibration-y" type="float" value="0.3"/>\r\n'
    '<prop id="spatial-calibration-units" type="string" value="um"/>\r\n</MetaData>'
)


@pytest.mark.parametrize(
    "text",
    [
        '<?xml version="1.0" encoding="UTF-8"?><OME/>',
        "<OME xmlns='x'>",
        "<MetaData>",
        '{"shape": [3, 4]}',
        '{"Summary": {}',
        "{}",
        "ImageJ=1.53t\nimages=4\n",
        "SCIFIO=0.1\n",
        "\ufeff<?xml version='1.0'?><OME/>",
        "<!-- a block of OME-XML --><OME/>",
        "Aperio Image Library v11.2.1\r\n46000x32914",
        "state.configPath='C:'",
        "shape=(5, 96, 128, 3)",
        "SIMPLE  =                    T / file conforms",
        "scanimage.SI4.acqNumFrames = 3",
        "SI.LINE_FORMAT_VERSION = 1",
        "frameNumbers = 1\nacquisitionNumbers = 1",
        "[Application]\r\nName=x\r\n",
        '[Application],Date="2001"',
        "# Pixel_size 172e-6 m x 172e-6 m",
        "<Title>Bees</Title>",
        '[{"shape": [3]}]',
    ],
)
def test_words_of_programs_are_known(text):
    assert descriptions.is_machine(text)


@pytest.mark.parametrize(
    "text",
    [
        *("beetle", "<3 beetles", "{draft} beetle", "", "ImageJ was used", "<Digimax, MP3>"),
        *("<Bee> on a flower", '["Bee" series] no. 4', "state.of the art", "[[1]] first"),
        *('{"Bee"} stack', "SI.unit 5", "[Bee] on a flower", "# 4", "SIMPLE = easy"),
    ],
)
def test_words_of_people_are_not(text):
    assert not descriptions.is_machine(text)


@pytest.mark.parametrize(
    ("text", "micrometres"),
    [
        ('<OME><Pixels PhysicalSizeX="0.5" PhysicalSizeY="0.25"/></OME>', (0.5, 0.25)),
        (
            '<OME><Pixels PhysicalSizeX="5" PhysicalSizeXUnit="nm" PhysicalSizeY="0.25" '
            'PhysicalSizeYUnit="\u00b5m"/></OME>',
            (0.005, 0.25),
        ),
        ('{"PhysicalSizeX": 0.5, "PhysicalSizeY": 2, "PhysicalSizeYUnit": "um"}', (0.5, 2)),
        ('{"Summary": {"PixelSize_um": 0.65}}', (0.65, 0.65)),
        (
            "\ufeff<!-- units --><OME><Pixels PhysicalSizeX='0.5' PhysicalSizeXUnit='&#181;m' "
            "PhysicalSizeY='250' PhysicalSizeYUnit='nm'/></OME>",
            (0.5, 0.25),
        ),
        (METAMORPH, (0.645, 0.3)),
        ("Aperio Image Library\r\n900x600 J2K|AppMag = 20|MPP = 0.4990", (0.499, 0.499)),
        ("ImageJ=1.53t\nunit=micron\n", (0.25, 0.5)),
        ("ImageJ=1.53t\nunit=\\u00B5m\n", (0.25, 0.5)),
        ("ImageJ=1.53t\nunit=nm\nyunit=mm\n", (0.25e-3, 500)),
    ],
)
def test_pixel_sizes_are_read(text, micrometres):
    found = descriptions.of_text(text, (4.0, 2.0))
    assert [25400 / one for one in found] == pytest.approx(micrometres)


@pytest.mark.parametrize(
    "text",
    [
        "ImageJ=1.53t\nunit=pixel\n",
        "<OME/>",
        METAMORPH.replace('"um"', '"pixel"'),
        "Aperio Image Library\r\n900x600 J2K|AppMag = 20|MPP = x",
        '{"PixelSizeUm": 0}',
        '{"PixelSizeUm": "x"}',
        "beetle",
    ],
)
def test_no_pixel_size_is_made_up(text):
    assert descriptions.of_text(text, (4.0, 2.0)) is None


def test_a_description_in_latin_1_keeps_its_unit(tmp_path):
    text = (
        '<OME><Pixels PhysicalSizeX="0.5" PhysicalSizeXUnit="\u00b5m" PhysicalSizeY="0.5"/></OME>'
    )
    tags = [(270, 2, 0, text.encode("latin-1"), True)]
    tifffile.imwrite(tmp_path / "a.tif", photo(channels=1), metadata=None, extratags=tags)
    assert read_metadata(tmp_path / "a.tif").resolution == pytest.approx((50800, 50800))


def test_imagej_and_micro_manager_keep_their_scale_in_a_tiff(tmp_path):
    path, pixels = tmp_path / "a.tif", np.zeros((20, 30), np.uint16)
    tifffile.imwrite(path, pixels, imagej=True, resolution=(40 / 13, 4), metadata={"unit": "um"})
    metadata = read_metadata(path)
    assert [25400 / one for one in metadata.resolution] == pytest.approx((0.325, 0.25))
    target = tmp_path / "b.tif"
    write_image(target, pixels, Encoding(metadata=metadata))
    with tifffile.TiffFile(target) as tiff:
        page = tiff.pages.first
        assert page.shape == tiff.series[0].shape == (20, 30)
        assert not (tiff.is_imagej or tiff.is_ome or page.is_shaped)
        assert page.resolutionunit == 3
        assert [1e4 / one for one in page.resolution] == pytest.approx((0.325, 0.25))
    facts = json.dumps({"PixelSizeUm": 0.65}).encode()
    tags = [(51123, "s", 0, facts, True)]
    tifffile.imwrite(path, pixels, metadata=None, extratags=tags)
    assert [25400 / one for one in read_metadata(path).resolution] == pytest.approx((0.65, 0.65))


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
@pytest.mark.parametrize("micrometres", [0.0037, 0.05, 0.325, 10])
def test_pixels_of_a_microscope_keep_their_size(tmp_path, suffix, micrometres):
    resolution = (25400 / micrometres,) * 2
    path = tmp_path / f"a.{suffix}"
    write_image(path, photo(), Encoding(metadata=Metadata(resolution=resolution), software="{}"))
    assert read_metadata(path).resolution == pytest.approx(resolution, rel=1e-4)


# --- what holds for the picture as it was


def ratio(order, top, bottom=1):
    return Tag(5, 1, struct.pack(order + "II", top, bottom))


def shorts(order, *values):
    return Tag(3, len(values), struct.pack(f"{order}{len(values)}H", *values))


def told(path, exif, *, orientation=1):
    """Save a picture that says so."""
    exif = Exif(exif.order, {**exif.main, 0x0112: shorts(exif.order, orientation)}, exif.photo)
    Image.fromarray(photo(40, 60)).save(path, exif=b"Exif\0\0" + exif.block())
    return path


@pytest.mark.parametrize("order", "<>")
def test_places_in_the_picture_are_kept_only_while_it_is_as_it_was(tmp_path, order):
    where = {0x9214: shorts(order, 30, 20, 5), 0xA214: shorts(order, 30, 20)}
    where |= {0xA002: shorts(order, 60), 0xA003: shorts(order, 40)}
    for orientation, size, kept in (
        (1, (40, 60), True),
        (1, (30, 60), False),
        (3, (40, 60), False),
    ):
        source = told(tmp_path / "a.jpg", Exif(order, photo=where), orientation=orientation)
        metadata = read_metadata(source)
        write_image(tmp_path / "b.jpg", photo(*size), Encoding(metadata=metadata))
        found = parse(read_metadata(tmp_path / "b.jpg").exif).photo
        assert (0x9214 in found) == (0xA214 in found) == kept


@pytest.mark.parametrize("order", "<>")
def test_the_resolution_of_the_sensor_follows_turns_and_new_sizes(tmp_path, order):
    sensor = {0xA20E: ratio(order, 3000), 0xA20F: ratio(order, 1500)}
    main = {0x011A: ratio(order, 300), 0x011B: ratio(order, 150), 0x1001: shorts(order, 9)}
    exif = Exif(order, main, sensor)
    metadata = read_metadata(told(tmp_path / "a.jpg", exif, orientation=6))
    found = parse(scaled(metadata, 0.5, 4.0).exif).photo
    x, y = (struct.unpack(order + "II", found[tag].data) for tag in (0xA20E, 0xA20F))
    assert (x[0] / x[1], y[0] / y[1]) == (6000, 1500)
    write_image(tmp_path / "b.jpg", photo(50, 20), Encoding(metadata=metadata))
    related = parse(read_metadata(tmp_path / "b.jpg").exif).main[0x1001]
    assert related == Tag(4, 1, struct.pack(order + "I", 20))


REGIONS = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-'
    b'syntax-ns#"><rdf:Description xmlns:t="http://ns.adobe.com/tiff/1.0/"'
    b' xmlns:r="http://www.metadataworkinggroup.com/schemas/regions/"'
    b' xmlns:d="http://ns.adobe.com/xap/1.0/sType/Dimensions#" t:ImageWidth="60">'
    b"<t:Orientation> 6 </t:Orientation>"
    b'<r:Regions rdf:parseType="Resource"><r:AppliedToDimensions d:w="60" d:h="40"/>'
    b"<r:RegionList/></r:Regions></rdf:Description></rdf:RDF></x:xmpmeta>"
)


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be", "utf-16", "utf-32-le"])
def test_xmp_is_understood_in_any_encoding_and_under_any_prefix(tmp_path, coding):
    source = tmp_path / "a.jpg"
    Image.fromarray(photo(40, 60)).save(source, xmp=REGIONS.decode().encode(coding))
    metadata = read_metadata(source)
    assert b"<t:Orientation>1</t:Orientation>" in metadata.xmp
    for size, kept in (((40, 60), True), ((30, 60), False)):
        write_image(tmp_path / "b.jpg", photo(*size), Encoding(metadata=metadata))
        packet = read_metadata(tmp_path / "b.jpg").xmp
        assert (b"Regions" in packet) == kept and b't:ImageWidth="60"' in packet


def test_exif_in_the_main_directory_of_a_tiff_is_kept(tmp_path):
    tags = [(0x829A, 5, 1, (1, 200), True), (0x8827, 3, 1, 400, True)]
    tags += [(0x9003, 2, 0, "2026:01:02 03:04:05", True)]
    tifffile.imwrite(tmp_path / "a.tif", photo(), metadata=None, extratags=tags)
    metadata = read_metadata(tmp_path / "a.tif")
    for suffix in ("jpg", "png", "tif"):
        write_image(tmp_path / f"b.{suffix}", photo(), Encoding(metadata=metadata))
        found = parse(read_metadata(tmp_path / f"b.{suffix}").exif).photo
        assert found.keys() >= {0x829A, 0x8827, 0x9003}


@pytest.mark.parametrize("kind", [1, 2, 6, 7])
def test_xmp_and_profiles_in_tags_of_any_type_are_read(tmp_path, kind):
    tags = [(700, 7, len(sources.XMP), sources.XMP, True), (34675, 7, len(SRGB), SRGB, True)]
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), metadata=None, extratags=tags)
    data = path.read_bytes()
    for tag in (700, 34675):
        entry = struct.pack("<HH", tag, 7)
        assert data.count(entry) == 1
        data = data.replace(entry, struct.pack("<HH", tag, kind))
    path.write_bytes(data)
    assert probe(path).notes == ()
    assert b"xmp:Rating" in read_metadata(path).xmp
    assert read_metadata(path).icc == SRGB


@pytest.mark.parametrize("head", ["\niptc\n", "\nIPTC profile\n", "IPTC profile\r\n"])
def test_iptc_of_a_png_is_read_whatever_the_line_before_it_says(tmp_path, head):
    lines = f"{head}{len(sources.RESOURCES):8}\n{sources.RESOURCES.hex()}\n".encode()
    path = tmp_path / "a.png"
    Image.fromarray(photo()).save(path)
    text = b"Raw profile type iptc\0\0" + zlib.compress(lines)
    found = read_metadata(sources.insert(path, png_chunk(b"zTXt", text)))
    assert (found.iptc, found.lost) == (sources.IPTC, ())


@pytest.mark.parametrize("form", ["H", "I"])
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("is_swapped", [False, True])
def test_xmp_profiles_and_iptc_stored_as_numbers_are_read(tmp_path, form, order, is_swapped):
    size = np.dtype(form).itemsize
    tags = []
    for tag, data in ((700, sources.XMP), (34675, SRGB), (33723, sources.IPTC)):
        padded = data + bytes(-len(data) % size)
        if is_swapped:
            padded = np.frombuffer(padded, form).byteswap().tobytes()
        tags.append((tag, form, len(padded) // size, padded, True))
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, photo(), metadata=None, byteorder=order, extratags=tags)
    found = read_metadata(path)
    assert probe(path).notes == ()
    assert b"xmp:Rating" in found.xmp
    assert found.icc[: len(SRGB)] == SRGB
    assert found.iptc == sources.IPTC


def uneven_source(path, x, y):
    """A file that says how many pixels there are along x and y per length, and not which."""
    if path.suffix == ".tif":
        tifffile.imwrite(path, photo(), metadata=None, resolution=(x, y), resolutionunit=1)
    else:
        Image.fromarray(photo()).save(path, dpi=(300, 300))
        data = path.read_bytes()
        if path.suffix == ".png":
            place = data.index(b"pHYs") - 4
            chunk = png_chunk(b"pHYs", struct.pack(">IIB", x, y, 0))
            data = data[:place] + chunk + data[place + len(chunk) :]
        else:
            data = data[:13] + struct.pack(">BHH", 0, x, y) + data[18:]
        path.write_bytes(data)
    return path


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
@pytest.mark.parametrize("source", KINDS_OF_FILES)
def test_how_high_pixels_are_is_kept_without_a_unit(tmp_path, source, kind):
    metadata = read_metadata(uneven_source(tmp_path / f"a{source}", 4, 3))
    for change, expected in ((None, 4 / 3), ((0.5, 1.5), 4)):
        own = scaled(metadata, *change) if change else metadata
        path = tmp_path / f"b{kind}"
        write_image(path, photo(), Encoding(metadata=own))
        with Image.open(path) as image:  # a second reader
            told = image.info
            if kind == ".tif":
                assert image.tag_v2[296] == 1
                x, y = float(image.tag_v2[282]), float(image.tag_v2[283])
            else:
                x, y = told["jfif_density"] if kind == ".jpg" else told["aspect"]
        assert x / y == pytest.approx(expected)
        again = read_metadata(path)
        assert (again.has_unit, again.aspect) == (False, own.aspect)


@pytest.mark.parametrize("ratio", [1e-9, 0.0101, 1 / 3, 1.0001, 99.9, 1e9])
def test_jfif_can_say_how_high_pixels_are(ratio):
    aspect = Metadata(resolution=(ratio, 1.0), has_unit=False).aspect
    if not 0.01 <= ratio <= 100:
        assert aspect is None
    else:
        assert min(aspect) > 0 and max(aspect) < 2**16
        assert aspect[0] / aspect[1] == pytest.approx(ratio, rel=1e-3)


@pytest.mark.parametrize("kind", KINDS_OF_FILES)
def test_square_pixels_without_a_unit_say_nothing(tmp_path, kind):
    assert read_metadata(uneven_source(tmp_path / f"a{kind}", 3, 3)).resolution is None


def test_iptc_that_is_longer_than_a_segment_of_jpeg_comes_back(tmp_path):
    long = b"".join(b"\x1c\x02\x19\x0f\xa0" + bytes([n]) * 4000 for n in range(40))
    write_image(tmp_path / "a.jpg", photo(), Encoding(metadata=Metadata(iptc=long)))
    assert read_metadata(tmp_path / "a.jpg").iptc == long


@pytest.mark.parametrize(
    ("jfif", "exif", "expected"), [(72, 300, 300), (300, 72, 300), (72, 72, 72), (240, 240, 240)]
)
def test_two_resolutions_of_a_jpeg_become_one(tmp_path, jfif, exif, expected):
    main = {0x011A: ratio(">", exif), 0x011B: ratio(">", exif)}
    block = Exif(">", main).block()
    Image.fromarray(photo()).save(tmp_path / "a.jpg", dpi=(jfif, jfif), exif=b"Exif\0\0" + block)
    metadata = read_metadata(tmp_path / "a.jpg")
    for suffix in ("jpg", "png"):
        write_image(tmp_path / f"b.{suffix}", photo(), Encoding(metadata=metadata))
        found = read_metadata(tmp_path / f"b.{suffix}")
        assert found.resolution == pytest.approx((expected,) * 2, rel=1e-3)
        assert parse(found.exif).resolution == pytest.approx((expected,) * 2)


def test_chunks_of_png_that_are_not_copied_are_told(tmp_path):
    Image.fromarray(photo()).save(tmp_path / "a.png")
    sources.insert(tmp_path / "a.png", png_chunk(b"sCAL", b"\x010.1\x000.1"))
    sources.insert(tmp_path / "a.png", png_chunk(b"cLLI", bytes(8)))
    assert len(read_metadata(tmp_path / "a.png").lost) == 2


# --- GPS


PLACES = {
    '<g:lat xmlns:g="http://www.w3.org/2003/01/geo/wgs84_pos#">47.5</g:lat>',
    '<d:LRFTargetLat xmlns:d="http://www.dji.com/drone-dji/1.0/">47.5</d:LRFTargetLat>',
    '<d:LRFTargetLon xmlns:d="http://www.dji.com/drone-dji/1.0/">47.5</d:LRFTargetLon>',
}


@pytest.mark.parametrize("coding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_no_notation_of_a_place_is_left(tmp_path, coding):
    for place in PLACES:
        packet = sources.XMP.decode().replace("<dc:title>", f"{place}<dc:title>").encode(coding)
        Image.fromarray(photo()).save(tmp_path / "a.jpg", xmp=packet)
        found = read_metadata(tmp_path / "a.jpg", strip_gps=True).xmp
        assert b"47.5" not in found and b"GPS" not in found
        # What is no place though its name is like one.
        assert b"rdf:Alt" in found and b"xmp:Rating" in found


def test_places_in_tags_of_tiff_inside_a_jpeg_are_left_out(tmp_path):
    tie = Tag(12, 6, struct.pack("<6d", 0, 0, 0, 8.5, 47.5, 0))
    main = {0x010F: Tag(2, 2, b"X\0"), 700: Tag(1, len(sources.XMP), sources.XMP), 33922: tie}
    source = told(tmp_path / "a.jpg", Exif("<", main))
    metadata = read_metadata(source, strip_gps=True)
    assert b"GPS" not in metadata.exif and tie.data not in metadata.exif
    assert b"GPS" not in metadata.xmp and b"Rating" in metadata.xmp
    assert metadata.lost[0] == "the places of its pixels on a map (GeoTIFF)"


@pytest.mark.parametrize("kind", ["jpeg", "png", "tiff"])
def test_places_are_left_out_if_asked(tmp_path, kind):
    source = sources.full(kind, tmp_path)
    assert b"GPS" in read_metadata(source).xmp and parse(read_metadata(source).exif).gps
    metadata = read_metadata(source, strip_gps=True)
    exif = parse(metadata.exif)
    assert not exif.gps and exif.photo
    assert b"GPS" not in metadata.xmp and b"Rating" in metadata.xmp
    for suffix in ("jpg", "png", "tif"):
        path = tmp_path / f"a.{suffix}"
        write_image(path, photo(), Encoding(metadata=metadata))
        with Image.open(path) as image:
            assert not image.getexif().get_ifd(0x8825)


# --- colours


def test_profiles_that_do_the_same_agree():
    other = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes() + bytes(4)
    srgb, nothing, adobe = Metadata(icc=SRGB), Metadata(), Metadata(icc=ADOBE)
    chunk = Metadata(chunks=((b"sRGB", b"\0"),))
    for one in (srgb, nothing, chunk, Metadata(icc=other)):
        assert agree(srgb, one, 3) and agree(one, srgb, 3)
        assert not agree(adobe, one, 3) and not agree(one, adobe, 3)
    assert agree(adobe, Metadata(exif=sources.block(1, adobe_rgb=True)), 3)
    pq = [Metadata(chunks=((b"cICP", bytes((9, curve, 0, 1))),)) for curve in (16, 18)]
    assert agree(pq[0], pq[0], 3)
    assert not agree(pq[0], pq[1], 3)


def test_a_profile_from_chunks_gives_the_colours_that_they_state():
    imagecodecs = pytest.importorskip("imagecodecs")
    corners = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    chunks = ((b"gAMA", struct.pack(">I", 45471)), (b"cHRM", struct.pack(">8I", *corners)))
    made = stated_profile(Metadata(chunks=chunks), 3)
    pixels = photo()[:20].astype(np.uint16) * 257
    spaces = {"colorspace": "rgb", "outcolorspace": "rgb"}
    # These are the primaries and the exponent of Adobe RGB.
    one, other = (imagecodecs.cms_transform(pixels, of, SRGB, **spaces) for of in (made, ADOBE))
    assert np.abs(one.astype(int) - other).max() < 200
    assert stated_profile(Metadata(chunks=chunks), 3) == made


def gamma(value, corners=None):
    places = struct.pack(">8I", *corners) if corners else b""
    chunks = ((b"gAMA", struct.pack(">I", value)),)
    return Metadata(chunks=chunks + (((b"cHRM", places),) if places else ()))


SRGB_CORNERS = (31269, 32899, 63999, 33001, 30000, 60000, 15000, 5999)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("corners", [None, SRGB_CORNERS])
def test_the_gamma_that_writers_give_for_srgb_is_srgb(corners, channels):
    for value in (45455, 45454, 45500):
        assert agree(gamma(value, corners), Metadata(chunks=((b"sRGB", b"\0"),)), channels)
        assert agree(gamma(value, corners), Metadata(), channels)
    for value in (100000, 55556):
        assert agree(gamma(value, corners), Metadata(), channels) == (channels == 1)
    wide = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    assert not agree(gamma(45455, wide), Metadata(), 3)


def test_profiles_that_nobody_can_read_agree_with_none_but_themselves():
    broken = [SRGB[:200] + bytes([n]) * (len(SRGB) - 200) for n in (1, 2)]
    one, other = (Metadata(icc=icc) for icc in broken)
    assert agree(one, one, 3)
    assert not agree(one, other, 3) and not agree(one, Metadata(), 3)


def test_adobe_rgb_by_exif_alone_is_known_by_the_header_of_any_format(tmp_path):
    exif = sources.block(1, adobe_rgb=True, thumbnail=False)
    for suffix in ("jpg", "png", "tif"):
        plain, adobe = tmp_path / f"a.{suffix}", tmp_path / f"b.{suffix}"
        Image.fromarray(photo()).save(plain)
        words = Image.Exif()
        words.load(exif)
        if suffix == "tif":  # where Pillow writes no directory of interoperability
            words.get_ifd(0x8769)[0xA001] = 2
        Image.fromarray(photo()).save(adobe, exif=words)
        one, other = probe(plain), probe(adobe)
        assert other.colours and one.colours == ""
        assert not same_colours(one, other)


def test_frames_of_other_colours_are_known_by_their_headers(tmp_path):
    paths = {}
    for name, icc in {"srgb": SRGB, "adobe": ADOBE, "none": None}.items():
        for suffix in ("jpg", "png", "tif"):
            paths[name, suffix] = probe_of(tmp_path / f"{name}.{suffix}", icc)
    for suffix in ("jpg", "png", "tif"):
        srgb, adobe, none = (paths[name, suffix] for name in ("srgb", "adobe", "none"))
        assert len({srgb.colours, adobe.colours, none.colours}) == 3
        assert none.colours == ""
        assert same_colours(srgb, none) and not same_colours(srgb, adobe)


def probe_of(path, icc):
    write_image(path, photo(), Encoding(metadata=Metadata(icc=icc)))
    return probe(path)
