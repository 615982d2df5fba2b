"""Damaged frames of a long stack: left out if asked for, recorded, and named where they fail."""

import csv
import json

import pytest
from PIL import Image

from batchstack.batch.broken import without_broken
from batchstack.batch.jobs import Result
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import make_plan
from batchstack.images import read
from batchstack.options import RunOptions

# A frame whose header is damaged is found by the plan, one that is cut when it is decoded.
DAMAGE = {"header": lambda data: b"no image", "pixels": lambda data: data[: len(data) // 2]}
RUN = ("run", "pairs.csv", "-o", "out", "--workers", 0, "--methods", "direct", "--align", "off")
SKIP = "--skip-broken"


@pytest.fixture
def damaged(workspace):
    """Write a stack of some frames, damage some of them, and return all."""

    def write(kind, count, *indices, suffix=".png"):
        frames = workspace.stack("s", n_frames=count, suffix=suffix)
        for index in indices:
            path = workspace.root / frames[index]
            path.with_name(f"sound{index}").write_bytes(path.read_bytes())
            path.write_bytes(DAMAGE[kind](path.read_bytes()))
        workspace.manifest({"s": frames})
        return frames

    return write


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("place", [0, 3, 5])
def test_a_damaged_frame_is_left_out_said_and_recorded(workspace, damaged, kind, place):
    frames = damaged(kind, 6, place)
    said = workspace.run(*RUN, SKIP, "--no-report").stderr
    broken = workspace.root / frames[place]
    assert f"frame {place + 1} is left out, as --skip-broken allows: {broken}: " in said
    assert "1 done, 0 skipped, 0 failed" in said
    rest = [frame for frame in frames if frame != frames[place]]
    workspace.run("fuse", "-o", "rest", "--methods", "direct", "--align", "off", *rest)
    assert list(workspace.pixels("out").values()) == list(workspace.pixels("rest").values())
    status = workspace.run("status", "out")
    assert f"frame {place + 1} is left out" in status.stdout
    (stack,) = map(json.loads, workspace.run("status", "out", "--json").stdout.splitlines())
    assert [(one["frame"], one["path"]) for one in stack["left_out"]] == [(place + 1, str(broken))]


def test_what_was_left_out_is_part_of_the_key(workspace, damaged):
    frames = damaged("pixels", 6, 2)
    broken = workspace.root / frames[2]
    workspace.run(*RUN, SKIP)
    assert "1 skipped" in workspace.run(*RUN, SKIP).stderr
    # Moved and touched it is the same.
    broken.touch()
    (workspace.root / frames[3]).touch()
    for _ in range(2):
        assert "1 skipped" in workspace.run(*RUN, SKIP).stderr
    # Without the option the stack is one that fails.
    assert "left-out" in workspace.run("check", *RUN[1:4], *RUN[6:]).stdout
    # Mended, the frame is fused with the others.
    broken.write_bytes(broken.with_name("sound2").read_bytes())
    check = workspace.run("check", *RUN[1:4], *RUN[6:], SKIP).stdout
    assert f"{broken.name} changed" in check
    said = workspace.run(*RUN, SKIP).stderr
    assert "1 done" in said and "left out" not in said
    assert "1 skipped" in workspace.run(*RUN).stderr


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize(
    ("count", "indices", "why", "options"),
    [
        (4, [1], "of a stack of 5 frames or more one in 5 may be left out", ()),
        (6, [1, 4], "of a stack of 5 frames or more one in 5 may be left out", ()),
        (6, [1], "it is the frame that --reference names", ("--reference", 2)),
    ],
)
def test_a_stack_that_cannot_do_without_it_fails_and_says_why(
    workspace, damaged, kind, count, indices, why, options
):
    frames = damaged(kind, count, *indices)
    aligned = [part for part in RUN if part not in ("--align", "off")]
    said = workspace.run(*aligned, SKIP, *options, code=1).stderr
    assert f"left out: {why}" in said
    with (workspace.root / "out" / "failed.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["meta_broken"] in {str(workspace.root / frames[index]) for index in indices}


@pytest.mark.parametrize("kind", DAMAGE)
def test_the_list_of_failures_names_the_frame_until_it_is_mended(workspace, damaged, kind):
    frames = damaged(kind, 2, 1)
    workspace.run(*RUN, code=1)
    broken = workspace.root / frames[1]
    with (workspace.root / "out" / "failed.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert row["meta_broken"] == str(broken)
    broken.write_bytes(broken.with_name("sound1").read_bytes())
    workspace.run("run", "out/failed.csv", *RUN[2:])
    assert "meta" not in Ledger(workspace.root / "out").history("s").facts


def test_a_numbered_reference_stays_the_same_frame(workspace, damaged):
    frames = damaged("header", 6, 1)
    fuse = ("fuse", "--methods", "direct", "--align", "similarity")
    workspace.run(*fuse, "-o", "out", SKIP, "--reference", 4, *frames)
    rest = [frame for frame in frames if frame != frames[1]]
    workspace.run(*fuse, "-o", "rest", "--reference", 3, *rest)
    assert workspace.pixels("out") == workspace.pixels("rest")


def test_fuse_leaves_frames_out_as_they_are_found(workspace, damaged):
    frames = damaged("pixels", 10, 2, 7)
    done = workspace.run(
        "fuse", "-o", "out", "--methods", "direct", "--align", "off", SKIP, *frames
    )
    assert "frame 3 is left out" in done.stderr
    assert "frame 8 is left out" in done.stderr


def test_a_stack_in_tiles_on_workers_comes_again_without_the_frame(workspace, damaged):
    damaged("pixels", 6, 3, suffix=".tif")
    run = (*RUN[:5], 1, *RUN[6:], SKIP, "--memory-limit", "290MiB", "--tile", 32)
    frames = [f"frames/s_{index}.tif" for index in range(6) if index != 3]
    assert "1 done" in workspace.run(*run).stderr
    workspace.run("fuse", "-o", "rest", "--methods", "direct", "--align", "off", *frames)
    assert list(workspace.pixels("out").values()) == list(workspace.pixels("rest").values())


def test_what_is_mended_meanwhile_is_not_left_out(workspace, damaged, monkeypatch):
    """The record must hold the bytes that were found damaged, not those of the mended file."""
    frames = [workspace.root / frame for frame in damaged("pixels", 6, 3)]
    options = RunOptions(methods=("direct",), skip_broken=True)
    manifest = load_manifest(workspace.root / "pairs.csv")
    out = workspace.root / "out"
    (step,) = make_plan(manifest, out, options, Ledger(out))
    result = Result(step.job, error=f"row s: {frames[3]}: is damaged", broken=frames[3])
    assert without_broken(result).left_out[0].path == frames[3]
    frames[3].write_bytes(frames[3].with_name("sound3").read_bytes())
    assert without_broken(result) is None
    # The card is still being copied: what is read is another file than that of the digest.
    half = frames[3].read_bytes()[:-100]
    frames[3].write_bytes(half)
    digest = read.file_digest

    def grow(path):
        found = digest(path)
        path.write_bytes(half + b"more")
        return found

    monkeypatch.setattr(read, "file_digest", grow)
    assert without_broken(result) is None


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: Image.open(path).convert("RGBA").save(path), "has an alpha channel"),
        (lambda path: path.write_bytes(b"\0\0\0\x18ftypheic" + bytes(40)), "which is not read"),
    ],
)
def test_what_is_not_damaged_is_refused_with_its_remedy(workspace, spoil, why):
    frames = workspace.stack("s", n_frames=6)
    spoil(workspace.root / frames[2])
    workspace.manifest({"s": frames})
    said = workspace.run(*RUN, SKIP, code=1).stderr
    assert why in said and "left out" not in said


def test_the_frame_is_told_from_one_whose_name_goes_on(workspace):
    frames = workspace.stack("s", n_frames=6)
    named = [workspace.root / f"a.png{f': {index}.png' if index else ''}" for index in range(6)]
    for frame, path in zip(frames, named, strict=True):
        (workspace.root / frame).rename(path)
    named[2].write_bytes(DAMAGE["pixels"](named[2].read_bytes()))
    (workspace.root / "pairs.yaml").write_text(
        json.dumps([{"id": "s", "frames": [path.name for path in named]}])
    )
    said = workspace.run("run", "pairs.yaml", *RUN[2:], SKIP).stderr
    assert f"frame 3 is left out, as --skip-broken allows: {named[2]}: " in said
    assert said.count("left out") == 1


@pytest.mark.parametrize("kind", ["header", "ihdr", "pixels"])
def test_outputs_keep_their_format_where_the_first_frame_is_damaged(workspace, kind):
    frames = workspace.stack("s", n_frames=6, suffix=".jpg")
    (first,) = workspace.stack("first", n_frames=2)[:1]
    damage = DAMAGE | {"ihdr": lambda data: data[:12] + b"JUNK" + data[16:]}
    path = workspace.root / first
    path.write_bytes(damage[kind](path.read_bytes()))
    workspace.manifest({"s": [first, *frames[1:]]})
    workspace.run(*RUN, SKIP)
    assert "1 skipped" in workspace.run(*RUN, SKIP).stderr
