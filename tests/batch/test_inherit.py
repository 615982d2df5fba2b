"""What outputs of a stack inherit of its first frame."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import make_plan
from batchstack.fusion import METHODS
from batchstack.images import (
    Encoding,
    Metadata,
    read_image,
    read_metadata,
    resized,
    write_image,
)
from batchstack.images.exif_block import SOFTWARE, Exif, Tag, parse
from batchstack.options import AlignOptions, OutputOptions, RunOptions
from tests.batch.conftest import do_split, do_whole
from tests.images import sources
from tests.images.samples import SRGB
from tests.images.test_metadata import ADOBE

OPTIONS = RunOptions(
    methods=("direct", "depth_map"),
    alignment=AlignOptions("off"),
    output=OutputOptions(strip_gps=True),
)


@pytest.fixture
def planned(workspace):
    def make(names, options=OPTIONS):
        manifest = load_manifest(workspace.manifest({"s": names}), known_methods=METHODS)
        out = workspace.root / "out"
        (step,) = make_plan(manifest, out, options, Ledger(out))
        return step

    return make


def with_metadata(workspace, suffix, *metadata):
    """A stack of which each frame has metadata of its own."""
    names = workspace.stack("s", suffix=suffix)
    for name, one in zip(names, metadata, strict=True):
        path = workspace.root / name
        write_image(path, read_image(path), Encoding(metadata=one))
    return names


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_outputs_inherit_from_the_first_frame_and_say_what_made_them(workspace, planned, suffix):
    first = Metadata(exif=sources.block(1), icc=SRGB, iptc=sources.IPTC, xmp=sources.XMP)
    other = Metadata(exif=parse(first.exif).with_software("other").block())
    step = planned(with_metadata(workspace, suffix, first, other))
    result = do_whole(step.job)
    assert result.error is None
    assert result.lost == ["XMP that announces what is stored behind the picture"]
    whole = workspace.outputs("out")
    for name in whole:
        method = "depth_map" if "depth" in name else "direct"
        metadata = read_metadata(workspace.root / "out" / name)
        exif = parse(metadata.exif)
        said = json.loads(exif.text(SOFTWARE))
        assert (said["software"], said["method"], said["frames"]) == ("batchstack", method, 2)
        assert said["options"] == step.job.keys[method]
        assert exif.text(0x0110) == "Cam 5"
        assert not exif.gps
        assert metadata.iptc == sources.IPTC
        assert metadata.icc == (SRGB if method == "direct" else None)
    assert do_split(step.job, step.shape).error is None
    assert workspace.outputs("out") == whole


def test_png_names_the_software_in_a_text(workspace, planned):
    step = planned(workspace.stack("s", suffix=".png"))
    assert do_whole(step.job).error is None
    with Image.open(step.job.output_path("focus_stacked_direct")) as image:
        assert json.loads(image.text["Software"])["method"] == "direct"


def test_asking_for_other_metadata_makes_outputs_anew(workspace, planned):
    plain = planned(workspace.stack("s")).job
    kept = planned(workspace.stack("s"), RunOptions()).job
    assert plain.keys["direct"]["strip_gps"] is True
    assert "strip_gps" not in kept.keys["direct"]


def test_the_reference_is_the_source_of_metadata_though_nothing_is_aligned(workspace, planned):
    texts = [Metadata(exif=sources.exif(1).tobytes()[6:])] * 2
    texts[1] = Metadata(exif=Exif(main={0x0110: Tag(2, 6, b"Cam 6\0")}).block())
    names = with_metadata(workspace, ".png", *texts)
    keys = {}
    for reference, camera in (("first", "Cam 5"), ("2", "Cam 6")):
        options = replace(OPTIONS, alignment=AlignOptions("off", reference=reference))
        step = planned(names, options)
        keys[reference] = step.job.keys
        for is_split in (False, True):
            done = do_split(step.job, step.shape) if is_split else do_whole(step.job)
            assert done.error is None
            outputs = [workspace.root / "out" / one for one in workspace.outputs("out")]
            found = {parse(read_metadata(one).exif).text(0x0110) for one in outputs}
            assert found == {camera}
    assert keys["first"] != keys["2"]


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
def test_frames_whose_colours_mean_something_else_are_refused(workspace, planned, suffix):
    names = with_metadata(workspace, suffix, Metadata(icc=SRGB), Metadata(icc=ADOBE))
    step = planned(names)
    assert step.action == "refuse"
    assert str(workspace.root / names[1]) in step.reasons[0]
    assert "one colour profile" in step.reasons[0]
    # The remedy helps, and so does none, which is taken for sRGB.
    for remedy in (Metadata(icc=SRGB), Metadata()):
        path = workspace.root / names[1]
        write_image(path, read_image(path), Encoding(metadata=remedy))
        assert planned(names).action == "fuse"


def test_the_size_of_pixels_stays_when_frames_are_cropped(workspace, planned):
    names = with_metadata(workspace, ".tif", *[Metadata(resolution=(78153.8, 78153.8))] * 2)
    pixels = read_image(workspace.root / names[0])
    moved = np.roll(pixels, 3, axis=1)
    write_image(workspace.root / names[1], moved)
    step = planned(names, RunOptions(methods=("direct",), alignment=AlignOptions("translation")))
    result = do_whole(step.job)
    assert result.error is None
    path = step.job.output_path("focus_stacked_direct")
    assert read_metadata(path).resolution == pytest.approx((78153.8, 78153.8), rel=1e-6)


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("reference", ["first", "last"])
def test_the_size_of_pixels_follows_when_frames_are_resized(workspace, planned, suffix, reference):
    """Two frames of one scene, the second with half as many pixels per inch."""
    names = workspace.stack("s", suffix=suffix)
    whole = read_image(workspace.root / names[0])
    small = resized(whole, (whole.shape[0] // 2, whole.shape[1] // 2))
    for name, pixels, count in ((names[0], whole, 800), (names[1], small, 400)):
        exif = parse(sources.block(1)).with_density((2, (count, 1), (count, 1)))
        metadata = Metadata(exif=exif.block(), resolution=(count, count))
        write_image(workspace.root / name, pixels, Encoding(metadata=metadata))
    options = RunOptions(
        methods=("direct",), alignment=AlignOptions("auto", reference=reference), resize=True
    )
    step = planned(names, options)
    assert do_whole(step.job).error is None
    metadata = read_metadata(step.job.output_path("focus_stacked_direct"))
    assert metadata.resolution == pytest.approx((800, 800), rel=1e-4)
    if suffix != ".tif":  # which has it outside of EXIF
        assert parse(metadata.exif).resolution == pytest.approx((800, 800), rel=1e-4)
    whole = workspace.outputs("out")
    assert do_split(step.job, step.shape).error is None
    assert workspace.outputs("out") == whole
