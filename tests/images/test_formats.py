"""One table says what formats are: it is true, it is asked by all, and a row is enough."""

import ast
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import batchstack
from batchstack.batch import memory
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.memory import predict
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.errors import ImageError
from batchstack.formats import ALL, DTYPES, FORMATS, either, of_magic, of_suffix
from batchstack.fusion import METHODS
from batchstack.images import (
    StagedImage,
    check_image,
    image_kind,
    probe,
    read_image,
    stage_image,
    write_image,
    write_image_rows,
)
from batchstack.images.codecs import codec
from batchstack.images.read import stored_pieces
from batchstack.options import FORMATS as CHOICES
from batchstack.options import OutputOptions
from tests.batch.conftest import do_split, do_whole
from tests.images import netpbm
from tests.images.samples import noise, photo

KNOWN = [*FORMATS.values(), netpbm.ROW]
ROOT = Path(batchstack.__file__).parent


@pytest.fixture(autouse=True)
def _with_the_toy(monkeypatch):
    monkeypatch.setitem(FORMATS, netpbm.ROW.name, netpbm.ROW)
    monkeypatch.setitem(sys.modules, "batchstack.images.netpbm", netpbm)


@pytest.fixture(params=KNOWN, ids=lambda row: row.name)
def row(request):
    return request.param


@pytest.fixture
def plan(workspace):
    def make(frames, **options):
        manifest = load_manifest(workspace.manifest({"s": frames}), known_methods=METHODS)
        out = workspace.root / "out"
        (step,) = make_plan(manifest, out, RunOptions(**options), Ledger(out))
        return step

    return make


def test_nothing_stands_for_two_formats():
    suffixes = [suffix for row in KNOWN for suffix in row.suffixes]
    magics = [magic for row in KNOWN for magic in row.magic]
    assert len({*suffixes}) == len(suffixes)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in suffixes)
    assert [other for one in magics for other in magics if other.startswith(one)] == magics
    assert all({*row.dtypes} <= {*DTYPES} for row in KNOWN)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 3])
def test_a_format_holds_what_its_row_says_and_nothing_else(tmp_path, row, dtype, channels):
    pixels, path = noise((20, 30, channels)[: 2 if channels == 1 else 3], dtype), tmp_path / "a"
    for suffix in row.suffixes:
        path = tmp_path / f"a{suffix.upper()}"
        if not row.holds(dtype, channels):
            with pytest.raises(ImageError, match=f"{row.label} cannot hold {dtype}") as caught:
                write_image(path, pixels)
            able = [other.label for other in KNOWN if other.holds(dtype, channels)]
            assert str(caught.value).endswith(f"; write {either(able)} instead")
            continue
        written = write_image(path, pixels)
        assert check_image(path, written) is None
        assert path.read_bytes().startswith(row.magic)
        assert path.read_bytes().endswith(row.end)
        assert probe(path).format == image_kind(path) == row.name == of_suffix(suffix).name
        again = read_image(path)
        assert (again.shape, again.dtype) == (pixels.shape, pixels.dtype)
        assert np.array_equal(again, pixels) == row.lossless


def test_a_format_of_one_kind_of_pixels_refuses_the_other(tmp_path, monkeypatch):
    for channels, pixels, said in ((1, photo(), "colour"), (3, photo(channels=1), "grey pixels")):
        monkeypatch.setitem(FORMATS, "netpbm", replace(netpbm.ROW, channels=(channels,)))
        with pytest.raises(ImageError, match=f"NETPBM cannot hold {said}; write JPEG, PNG or TIFF"):
            write_image(tmp_path / "a.pnm", pixels)


@pytest.mark.parametrize(
    "row", [row for row in KNOWN if row.largest_side < 2**32 - 1], indirect=True
)
def test_the_largest_side_is_written_and_a_longer_one_refused(tmp_path, row):
    path = tmp_path / f"a{row.suffix}"
    for shape in ((row.largest_side, 1), (1, row.largest_side)):
        write_image(path, np.zeros(shape, np.uint8))
        assert probe(path).shape == shape
        longer = np.zeros([side + (side > 1) for side in shape], np.uint8)
        with pytest.raises(ImageError, match=f"at {row.largest_side} a side; write TIFF"):
            write_image(path, longer)


def test_rows_are_read_and_written_at_once_as_the_row_says(tmp_path, monkeypatch, row):
    path, pixels, blocks = tmp_path / f"a{row.suffix}", noise((1300, 8)), []
    module = codec(row.name)
    write_rows = module.write_rows

    def counted(given):
        for block in given:
            blocks.append(len(block))
            assert block.flags.c_contiguous
            yield block

    monkeypatch.setattr(
        module,
        "write_rows",
        lambda file, info, given, how: write_rows(file, info, counted(given), how),
    )
    bands = (pixels[top : top + 4] for top in range(0, len(pixels), 4))
    write_image_rows(path, pixels.shape, pixels.dtype, bands)
    assert sum(blocks) == len(pixels)
    assert {*blocks[:-1]} <= {row.rows_written}
    assert (len(blocks) > 1) == row.written_by_rows
    info = probe(path)
    with path.open("rb") as file:
        read = [len(piece) for _, _, piece in stored_pieces(info, file)]
    assert sum(read) == len(pixels)
    # Those that are stored together are read together.
    assert {*read[:-1]} <= {row.rows_read, row.rows_written}
    assert (len(read) > 1) == row.read_by_rows == info.read_by_rows


def test_what_a_codec_yields_must_be_what_its_header_says(tmp_path, monkeypatch):
    path = tmp_path / "a.pnm"
    write_image(path, photo(40, 30))
    read_pieces = netpbm.read_pieces
    for wrong in (
        lambda bands: bands[:-1],
        lambda bands: [*bands, bands[0]],
        lambda bands: [band.astype(np.uint16) for band in bands],
        lambda bands: [band[:, 1:] for band in bands],
        lambda bands: [band[..., 0] for band in bands],
        lambda bands: [],
    ):
        monkeypatch.setattr(
            netpbm, "read_pieces", lambda *given, wrong=wrong: iter(wrong([*read_pieces(*given)]))
        )
        for read in (read_image, lambda path: stage_image(path, tmp_path / "a.npy")):
            with pytest.raises(ImageError, match=r"its header says \(40, 30, 3\) uint8 but"):
                read(path)
    assert not (tmp_path / "a.npy").exists()


def test_a_toy_is_recognized_and_its_damage_is_told(tmp_path):
    path = tmp_path / "a.pnm"
    write_image(path, photo())
    stage_image(path, tmp_path / "a.npy")
    np.testing.assert_array_equal(StagedImage(tmp_path / "a.npy").whole(), photo())
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ImageError, match=r"NETPBM header .*\(too short\).*pnmtopnm in.pnm"):
        read_image(path)
    path.write_bytes(b"P6\n1 1\n65535\n")
    with pytest.raises(ImageError, match="more than 8 bits"):
        probe(path)
    path.write_bytes(b"P4\n1 1\n")
    with pytest.raises(ImageError, match="is not a JPEG, PNG, TIFF or NETPBM file"):
        probe(path)
    assert of_magic(b"P6") is None


def test_a_toy_is_planned_and_fused_whole_and_in_tiles(workspace, plan):
    step = plan(workspace.stack("s", shape=(300, 200), suffix=".ppm"), tile=128)
    assert (step.action, step.job.suffix) == ("fuse", ".pnm")
    # It has no 16 bits for a depth map.
    assert step.job.output_path("depth_map").suffix == ".png"
    assert step.job.output_path("depth_confidence").suffix == ".pnm"
    assert do_whole(step.job).error is None
    whole = workspace.outputs("out")
    assert sum(name.endswith(".pnm") for name in whole) == len(whole) - 1
    assert do_split(step.job, step.shape).error is None
    assert workspace.outputs("out") == whole


@pytest.mark.parametrize(
    ("ability", "refusal"),
    [
        ({"dtypes": ("uint16",)}, "has uint8 pixels, which pnm cannot hold; use --format jpg, png"),
        ({"channels": (1,)}, "has colour pixels, which pnm cannot hold; use --format jpg, png or"),
        ({"largest_side": 79}, "is too large for pnm; use --format tif"),
    ],
)
def test_the_plan_refuses_what_a_toy_cannot_hold(workspace, plan, monkeypatch, ability, refusal):
    frames = workspace.stack("s", suffix=".ppm")
    monkeypatch.setitem(FORMATS, "netpbm", replace(netpbm.ROW, **ability))
    step = plan(frames)
    assert (step.action, step.hopeless) == ("refuse", True)
    assert refusal in step.reasons[0]


def test_the_plan_refuses_a_png_that_would_be_too_wide(workspace, plan):
    frames = [f"{name}.tif" for name in "ab"]
    for frame in frames:
        write_image(workspace.root / frame, np.zeros((1, 1_000_001), np.uint8))
    step = plan(frames, output=OutputOptions(format="png"))
    assert (step.action, step.hopeless) == ("refuse", True)
    assert "too large for png; use --format tif" in step.reasons[0]


def test_formats_by_rows_are_predicted_to_need_less(workspace, plan, monkeypatch):
    frames = workspace.stack("s", shape=(3000, 200), suffix=".pnm")
    monkeypatch.setattr(memory, "BAND_BYTES", 2**18)
    predict.cache_clear()
    by_rows = plan(frames, tile=128, methods=("direct",)).footprint
    # Its depth map is a PNG.
    mapped = plan(frames, tile=128, methods=("depth_map",)).footprint
    whole = replace(netpbm.ROW, rows_read=ALL, rows_written=ALL)
    monkeypatch.setitem(FORMATS, "netpbm", whole)
    predict.cache_clear()
    at_once = plan(frames, tile=128, methods=("direct",)).footprint
    assert by_rows.stage < at_once.stage
    assert by_rows.encode < at_once.encode == mapped.encode


COMMAND = f"""
import sys
from batchstack.formats import FORMATS, Format
FORMATS["netpbm"] = {netpbm.ROW!r}
from tests.images import netpbm
sys.modules["batchstack.images.netpbm"] = netpbm
from batchstack.cli.main import main
main()
"""


def test_one_row_makes_a_format_of_the_command(workspace):
    workspace.manifest({"s": workspace.stack("s", suffix=".ppm", dtype="uint8")})

    def command(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", COMMAND, *arguments],
            cwd=workspace.root,
            env=workspace.environment() | {"PYTHONPATH": str(Path(__file__).parents[2])},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    assert "[auto|jpg|png|tif|pnm]" in re.sub(r"\s", "", command("run", "--help"))
    methods = ("--methods", "all_channels,direct", "--workers", "0")
    said = command("run", "pairs.csv", "-o", "auto", *methods)
    assert "1 done, 0 skipped, 0 failed" in said
    command("run", "pairs.csv", "-o", "png", "--format", "png", *methods)
    command("run", "pairs.csv", "-o", "pnm", "--format", "pnm", *methods)
    assert workspace.outputs("auto") == workspace.outputs("pnm")
    assert len(workspace.outputs("png")) == 2
    for name in workspace.outputs("png"):
        toy = read_image((workspace.root / "pnm" / name).with_suffix(".pnm"))
        np.testing.assert_array_equal(toy, read_image(workspace.root / "png" / name))
    command("verify", "pnm")
    assert "0 done, 1 skipped, 0 failed" in command("run", "pairs.csv", "-o", "pnm", *methods)


def test_a_choice_stands_for_every_row():
    assert [*CHOICES] == ["auto", *(row.choice for row in KNOWN[:-1])]


# What may name formats: the table, codecs, what reads EXIF, which has the form of a TIFF, and
# XMP, which has names of it.
NAMING = {"formats.py", "images/exif.py", "images/tiff_pixels.py", "images/tiff_tags.py"}
NAMING |= {"images/tiff_read.py", "images/tiff_refused.py", "images/tiff_write.py"}
NAMING |= {"images/exif_block.py", "images/xmp.py"} | {
    f"images/{row.name}.py" for row in KNOWN[:-1]
}
WORDS = {row.name for row in KNOWN[:-1]} | {one[1:] for row in KNOWN[:-1] for one in row.suffixes}
FORMAT = re.compile(rf"\b({'|'.join(WORDS)})\b", re.IGNORECASE)
MAGICS = tuple(magic for row in KNOWN[:-1] for magic in row.magic)
SIDES = {row.largest_side for row in KNOWN[:-1]} - {ALL}


def facts(source, *, of_pixels=True):
    """What in a source says of a format, or of the pixels of files, what the table says."""
    tree = ast.parse(source)
    said = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.Constant) or id(node) in said:
            continue
        if is_fact(node.value) or (of_pixels and node.value in DTYPES):
            yield node.value


def is_fact(value):
    if isinstance(value, str):
        return bool(FORMAT.search(value))
    if isinstance(value, bytes):
        return value.startswith(MAGICS)
    return type(value) is int and value in SIDES


def sources():
    for path in sorted(ROOT.rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name not in NAMING:
            yield pytest.param(path, id=name)


@pytest.mark.parametrize("path", list(sources()))
def test_no_other_module_knows_a_format(path):
    # Arithmetic depends on the types of arrays, whatever file they come from.
    of_files = path.relative_to(ROOT).parts[0] in ("images", "batch", "cli", "options")
    assert list(facts(path.read_text(), of_pixels=of_files)) == []


@pytest.mark.parametrize(
    "line",
    [
        "suffix = '.jpg'",
        "if kind == 'tiff': pass",
        "f'{path}: write TIFF instead'",
        "depths = {'x': ('uint16',)}",
        "head.startswith(b'II*\\0')",
        "limit = 65_500",
    ],
)
def test_what_tells_of_formats_is_seen(line):
    assert list(facts(line))


@pytest.mark.parametrize("line", ["'''A JPEG.'''", "import tifffile", "'tifffile'", "np.uint16"])
def test_what_does_not_is_left_alone(line):
    assert list(facts(line)) == []
