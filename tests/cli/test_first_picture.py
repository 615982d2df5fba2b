"""From photographs to a picture without a manifest: frames, a folder of them, a card."""

import csv

import numpy as np
import pytest
import tifffile

from batchstack.batch.manifest import load_manifest
from batchstack.images import read_image, write_image
from batchstack.scan.grouping import in_order
from batchstack.scan.shots import Shot
from batchstack.scenes import make_stack

FAST = ("--align", "off")


def depth(workspace, *arguments):
    """The depth map that `fuse` writes."""
    workspace.run("fuse", "-o", "out", "--methods", "depth_map", *FAST, *arguments)
    return read_image(workspace.root / "out" / "depth_map.png")


def folder_of(workspace, count=3, folder="shoot", suffix=".png", scene="slant"):
    """Write a stack into a folder of its own, named so that text order is not natural order."""
    frames = make_stack((60, 80), frames=count, scene=scene, blur=3.0, seed=3).frames
    for index, frame in enumerate(frames, start=9):
        write_image(workspace.root / folder / f"f{index}{suffix}", frame)
    return [f"{folder}/f{index}{suffix}" for index in range(9, 9 + count)]


def test_frames_become_the_recommended_image(workspace):
    workspace.run("fuse", "-o", "out", *FAST, *folder_of(workspace))
    assert set(workspace.outputs("out")) == {"focus_stacked_bayesian.png"}


def test_a_folder_is_its_images_in_natural_order(workspace):
    frames = folder_of(workspace)
    (workspace.root / "shoot" / "notes.txt").write_text("windy")
    write_image(workspace.root / "shoot" / ".f1.png", np.zeros((9, 9), np.uint8))
    write_image(workspace.root / "shoot" / "focus_stacked_direct.png", np.zeros((9, 9), np.uint8))
    write_image(workspace.root / "shoot" / "old" / "f1.png", np.zeros((9, 9), np.uint8))
    done = workspace.run("fuse", "-o", "one", *FAST, "shoot")
    assert "3 frames in shoot, f9.png to f11.png" in done.stderr
    workspace.run("fuse", "-o", "two", *FAST, *frames)
    assert workspace.pixels("one") == workspace.pixels("two")


def test_frames_from_front_to_back_are_turned_round(workspace):
    frames = folder_of(workspace)
    expected = depth(workspace, *frames)
    assert len(np.unique(expected)) > 1
    np.testing.assert_array_equal(depth(workspace, "--reverse", *frames[::-1]), expected)
    assert not np.array_equal(depth(workspace, *frames[::-1]), expected)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"a.png": 1}, "holds only one image, 'a.png'"),
        ({}, "holds no JPEG, PNG or TIFF files"),
        ({"a.png": 1, "b.tif": 1}, "holds PNG and TIFF files; name those of one format"),
    ],
)
def test_a_folder_that_is_no_stack_is_refused_with_a_remedy(workspace, content, message):
    (workspace.root / "shoot").mkdir()
    for name in content:
        write_image(workspace.root / "shoot" / name, np.zeros((20, 20), np.uint8))
    assert message in workspace.run("fuse", "-o", "out", "shoot", code=2).stderr
    (workspace.root / "m.csv").write_text("id,frames\ns,shoot\n")
    assert f"m.csv:2:2 frames: {str(workspace.root / 'shoot')!r} {message}" in (
        workspace.run("check", "m.csv", code=2).stderr
    )


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["b.HEIC", "a.HEIC", "c.webp"], "are 2 of HEIC, 'a.HEIC', which is not read; convert it"),
        (["a.webp"], "is one of WebP, 'a.webp', which is not read; convert it"),
        (["a.NEF", "b.nef"], "are 2 of camera raw (NEF), 'a.NEF', which is not read; develop"),
    ],
)
def test_pictures_that_are_not_read_are_told_with_a_remedy(workspace, names, message):
    (workspace.root / "shoot").mkdir()
    for name in names:
        (workspace.root / "shoot" / name).touch()
    said = workspace.run("fuse", "-o", "out", "shoot", code=2).stderr
    assert f"holds no JPEG, PNG or TIFF files, but there {message}" in said


def test_a_folder_is_fused_in_the_order_in_which_scan_has_it(workspace):
    names = ["DSC09998.png", "DSC09999.png", "DSC00001.png"]
    (workspace.root / "shoot").mkdir()
    for name in names:
        write_image(workspace.root / "shoot" / name, np.zeros((20, 20), np.uint8))
    fused = workspace.run("fuse", "-o", "out", "--methods", "direct", "shoot").stderr
    assert "DSC09998.png to DSC00001.png" in fused
    (workspace.root / "m.csv").write_text("id,frames\ns,shoot\n")
    (row,) = load_manifest(workspace.root / "m.csv", known_methods=("direct",)).rows
    assert [path.name for path in row.frames] == names
    assert in_order([Shot(name) for name in names]) == [Shot(name) for name in names]


def test_what_outputs_do_without_is_said_of_the_reference_by_name(workspace):
    (workspace.root / "shoot").mkdir()
    for name, said in (("a.tif", None), ("b.tif", "ImageJ=1.53t\nimages=1\n")):
        pixels = np.zeros((20, 20), np.uint8)
        tifffile.imwrite(workspace.root / "shoot" / name, pixels, description=said, metadata=None)
    said = workspace.run("fuse", "-o", "out", "--reference", "2", "shoot").stderr
    assert "the reference frame, b.tif, has the description that a program wrote" in said
    assert "reference frame" not in workspace.run("fuse", "-o", "out", "shoot").stderr


def test_one_frame_is_no_stack(workspace):
    (frame, *_) = folder_of(workspace)
    assert "is only one frame" in workspace.run("fuse", "-o", "out", frame, code=2).stderr


@pytest.mark.parametrize("name", ["shoot", "shoot ", "img [1]", "./shoot/"])
def test_a_manifest_may_name_folders(workspace, name):
    folder_of(workspace, folder=name.strip())
    (workspace.root / "m.csv").write_text(f"id,frames\ns,{name}\n")
    assert "3 frames" in workspace.run("check", "m.csv").stdout


def test_the_order_of_a_row_is_turned_and_stays_so_in_the_list_of_failures(workspace):
    frames = folder_of(workspace)
    expected = depth(workspace, *frames)
    run = ("run", "m.csv", "-o", "runs", "--workers", 0, "--methods", "depth_map", *FAST)
    header = "id,frames,reverse\n"
    (workspace.root / "m.csv").write_text(f"{header}s,{'|'.join(frames[::-1])},yes\n")
    sound = (workspace.root / frames[0]).read_bytes()
    (workspace.root / frames[0]).write_bytes(b"no image")
    workspace.run(*run, code=1)
    with (workspace.root / "runs" / "failed.csv").open(newline="") as file:
        (failed,) = csv.DictReader(file)
    assert failed["frames"] == "|".join(str(workspace.root / frame) for frame in frames)
    (workspace.root / frames[0]).write_bytes(sound)
    for again in ("runs/failed.csv", "m.csv"):
        # Also the option of the run does not turn what is in order.
        workspace.run("run", again, *run[2:], "--reverse")
        result = read_image(workspace.root / "runs" / "s" / "depth_map.png")
        np.testing.assert_array_equal(result, expected)
    (workspace.root / "m.csv").write_text(f"{header}s,{'|'.join(frames[::-1])},no\n")
    check = ("check", "m.csv", "-o", "runs", "--methods", "depth_map", *FAST)
    assert "frames are in another order" in workspace.run(*check).stdout


def test_a_run_of_a_folder_shows_and_fuses_what_it_takes_for_stacks(workspace):
    folder_of(workspace, count=4, folder="card/one")
    folder_of(workspace, count=4, folder="card/two", scene="blob")
    write_image(workspace.root / "card" / "three" / "x.png", np.zeros((60, 80, 3), np.uint8))
    run = ("run", "card", "-o", "card/out", "--workers", 0, "--methods", "depth_map", *FAST)
    said = workspace.run(*run).stderr
    assert "f9.png .. f12.png" in said
    assert "left out, a single shot" in said
    assert "2 done" in said
    proposed = (workspace.root / "card/out/proposal.csv").read_text()
    assert proposed.startswith("id,frames,")
    # Outputs in the folder are no photographs, and what is done stays so.
    assert "2 skipped" in workspace.run(*run).stderr
    assert (workspace.root / "card/out/proposal.csv").read_text() == proposed
    workspace.run(*run, "--reverse")
    turned = (workspace.root / "card/out/proposal.csv").read_text()
    assert "../one/f12.png|" in turned or "/card/one/f12.png|" in turned
    assert workspace.root.joinpath("card/out/one/depth_map.png").exists()


def test_a_run_of_a_folder_replaces_nothing_of_a_stranger(workspace):
    folder_of(workspace, count=4, folder="card/one")
    (workspace.root / "out").mkdir()
    (workspace.root / "out" / "proposal.csv").write_text("mine\n")
    said = workspace.run("run", "card", "-o", "out", code=2).stderr
    assert "is not a proposal that a run has left" in said
    assert (workspace.root / "out" / "proposal.csv").read_text() == "mine\n"
    assert "give outputs their own" in workspace.run("run", "card", "-o", "card", code=2).stderr


def test_a_run_says_how_to_ask_for_one_method_unless_it_was_told(workspace):
    workspace.manifest({"s": folder_of(workspace)})
    run = ("run", "pairs.csv", "-o", "out", "--workers", 0, *FAST)
    hint = "all methods are computed; --methods bayesian asks for one"
    assert hint in workspace.run(*run).stderr
    assert hint not in workspace.run(*run).stderr  # nothing is to be done
    assert hint not in workspace.run(*run, "--rerun", "--methods", "direct").stderr
