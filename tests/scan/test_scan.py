"""From photographs on disk to a manifest that runs."""

import csv
import os
import shlex
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL.Image import Exif

from batchstack import files
from batchstack.batch.claim import claim
from batchstack.batch.manifest import PROPOSAL
from batchstack.cli.proposal import lines
from batchstack.images import Encoding, Metadata, read_preview, write_image
from batchstack.scan.folder import Folder
from batchstack.scan.grouping import Group, Left
from batchstack.scan.watch import Watch
from batchstack.scenes import Camera, make_stack
from tests.processes import wait_for

SHAPE = (120, 160)


def exif(seconds, maker="Maker"):
    block = Exif()
    block[0x010F], block[0x0110] = maker, "Body"
    inner = block.get_ifd(0x8769)
    inner[0x9003] = time.strftime("%Y:%m:%d %H:%M:%S", time.gmtime(seconds))
    inner[0x9291] = f"{int(seconds % 1 * 100):02}"
    return block.tobytes().removeprefix(b"Exif\0\0")


def take(folder, frames, first, seconds, step=0.5, maker="Maker"):
    """Write frames as a camera does; return their names."""
    names = []
    for index, frame in enumerate(frames):
        name = f"IMG_{first + index:04}.jpg"
        metadata = Metadata(exif=exif(seconds + step * index, maker))
        write_image(folder / name, frame, encoding=Encoding(metadata=metadata))
        names.append(name)
    return names


def rendered(seed, scene="slant", frames=5):
    return make_stack(SHAPE, frames=frames, scene=scene, blur=4.0, seed=seed).frames


@pytest.fixture
def card(tmp_path):
    folder = tmp_path / "card"
    folder.mkdir()
    return folder


def test_a_card_becomes_a_manifest_that_runs(workspace, card):
    first = take(card, rendered(0), 1, 1000.0)
    take(card, rendered(1, frames=2)[:1], 6, 1040.0)  # a single shot
    second = take(card, rendered(2, scene="blob"), 7, 1100.0)
    said = workspace.run("scan", "card", "-o", "m.csv").stdout
    assert "left out, a single shot" in said
    with (workspace.root / "m.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    wanted = [[f"card/{name}" for name in names] for names in (first, second)]
    assert [row["frames"].split("|") for row in rows] == wanted
    assert [row["id"] for row in rows] == ["IMG_0001", "IMG_0007"]
    workspace.run("check", "m.csv")
    assert (
        "2 done"
        in workspace.run("run", "m.csv", "-o", "out", "--workers", 0, "--methods", "direct").stderr
    )


@pytest.mark.parametrize("change", [0.01, -0.01])
def test_the_end_that_shows_the_scene_larger_is_the_front(workspace, card, change):
    """Also where it was taken first; whoever knows better says so."""
    camera = Camera(noise=2.0, breathing=change, shift=(2.0, -1.0))
    frames = make_stack((300, 400), frames=5, scene="lace", blur=4.0, seed=3, camera=camera).frames
    names = take(card, frames, 1, 1000.0)
    turned = names[::-1]
    back_first = names if change > 0 else turned
    assert scanned(workspace) == [(back_first, "order by scale, 1.0% larger in front", "")]
    assert scanned(workspace, "--as-taken") == [(names, "order as taken", "")]
    assert scanned(workspace, "--reverse") == [(turned, "order as taken, turned round", "")]


def test_an_order_that_scale_does_not_tell_is_marked(workspace, card):
    names = take(card, rendered(0), 1, 1000.0)
    doubt = "nothing tells which end is the back"
    assert scanned(workspace) == [(names, "order as taken", doubt)]


def scanned(workspace, *options):
    """Frames, the order and doubts of each stack in the manifest of a card."""
    workspace.run("scan", "card", "-o", "m.csv", "--replace", *options)
    with (workspace.root / "m.csv").open(newline="") as file:
        return [
            (
                [name.removeprefix("card/") for name in row["frames"].split("|")],
                row["meta_why"].rpartition("; ")[2],
                row["meta_doubts"],
            )
            for row in csv.DictReader(file)
        ]


def test_focus_shifts_of_nikon_are_read_where_exiftool_is_installed(card, tmp_path, monkeypatch):
    """Two series without a wait between them, and a single shot; by what ExifTool would say."""
    frames = rendered(0, frames=4)
    names = take(card, [*frames, *frames, frames[0]], 1, 1000.0, maker="NIKON CORPORATION")
    places = dict(zip(names, [1, 2, 3, 4, 1, 2, 3, 4, 0], strict=True))
    tool = tmp_path / "bin" / "exiftool"
    tool.parent.mkdir()
    tool.write_text(
        f"#!{sys.executable}\nimport json, sys\n"
        f"places = {places}\n"
        "told = [line.strip() for line in sys.stdin]\n"
        "print(json.dumps([{'SourceFile': p, 'FocusShiftShooting': places[p[-12:]]}"
        " for p in told]))\n"
    )
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", str(tool.parent))
    found = Folder(card).propose()
    # A focus shift goes from near to far.
    assert [list(group.frames) for group in found.groups] == [names[3::-1], names[7:3:-1]]
    assert [left.name for left in found.left] == names[8:]
    for broken in ("#!/bin/sh\necho no json", "#!/bin/sh\necho '[{}]'", "#!/nowhere"):
        tool.write_text(broken)
        assert len(Folder(card).propose().groups) == len(untold(card, monkeypatch).groups)


def untold(card, monkeypatch):
    """What is proposed where there is no ExifTool."""
    with monkeypatch.context() as without:
        without.setenv("PATH", str(card / "nowhere"))
        return Folder(card).propose()


def test_a_manifest_is_replaced_only_when_asked(workspace, card):
    take(card, rendered(0), 1, 1000.0)
    (workspace.root / "m.csv").write_text("mine\n")
    assert "--replace" in workspace.run("scan", "card", "-o", "m.csv", code=2).stderr
    assert (workspace.root / "m.csv").read_text() == "mine\n"
    workspace.run("scan", "card", "-o", "m.csv", "--replace")
    assert "IMG_0001" in (workspace.root / "m.csv").read_text()


def test_a_folder_without_stacks_writes_nothing_and_says_why(workspace, card):
    take(card, rendered(0, frames=2)[:1], 1, 1000.0)
    (card / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    done = workspace.run("scan", "card", "-o", "m.csv", code=2)
    assert "no stacks were found" in done.stderr
    assert "torn.jpg" in done.stdout
    assert not (workspace.root / "m.csv").exists()


@pytest.mark.parametrize("name", ["~home.jpg", "a, b 1.jpg", "ü 1.jpg"])
def test_odd_names_come_through(workspace, card, name):
    frames = rendered(0, frames=2)
    for side, frame in zip(("back", "front"), frames, strict=True):
        write_image(card / f"{side} {name}", frame)
    workspace.run("scan", "card", "-o", "card/m.csv")
    workspace.run("check", "card/m.csv")


def test_a_preview_is_small_upright_and_of_eight_bits(tmp_path):
    ramp = np.tile(np.linspace(0, 65535, 400).astype(np.uint16), (300, 1))
    write_image(tmp_path / "ramp.png", ramp)
    small = read_preview(tmp_path / "ramp.png", 100)
    assert (small.shape, small.dtype) == ((75, 100), np.uint8)
    assert np.all(np.diff(small[0].astype(int)) >= 0)
    write_image(tmp_path / "ramp.jpg", (ramp >> 8).astype(np.uint8))
    assert np.abs(read_preview(tmp_path / "ramp.jpg", 100).astype(int) - small).max() <= 2


FUSE = ("--workers", 0, "--methods", "direct", "--align", "off", "--no-report")


def proposed(workspace, output="out"):
    """The proposal of a run of a folder: id to names of frames."""
    with (workspace.root / output / PROPOSAL).open(newline="") as file:
        return {
            row["id"]: [name.rpartition("/")[2] for name in row["frames"].split("|")]
            for row in csv.DictReader(file)
        }


def test_a_card_that_is_used_again_takes_over_no_stack(workspace, card):
    (card / "100CANON").mkdir()
    take(card / "100CANON", rendered(0), 0, 1000.0)
    workspace.run("run", "card", "-o", "out", *FUSE)
    before = workspace.pixels("out")
    for path in (card / "100CANON").iterdir():
        path.unlink()
    take(card / "100CANON", rendered(3, scene="blob"), 10, 9000.0)
    workspace.run("run", "card", "-o", "out", *FUSE)
    assert list(proposed(workspace)) == ["100CANON/IMG_0010"]
    after = workspace.pixels("out")
    assert before.items() < after.items() and len(after) == 2
    assert "1 skipped" in workspace.run("run", "card", "-o", "out", *FUSE).stderr


def test_an_id_stays_with_its_stack_whatever_comes_to_its_folder(workspace, card):
    folder = card / "d"
    folder.mkdir()
    for count, (letter, suffix) in enumerate([("A", "jpg"), ("B", "png"), ("C", "jpg")]):
        for index, frame in enumerate(rendered(count, scene=("slant", "blob", "slant")[count])):
            write_image(folder / f"{letter}{index:03}.{suffix}", frame)
        said = workspace.run("run", "card", "-o", "out", *FUSE).stderr
        assert f"1 done, {count} skipped" in said
    assert {name: frames[0][0] for name, frames in proposed(workspace).items()} == {
        "d": "A",
        "d/B000": "B",
        "d/C000": "C",
    }
    card.rename(workspace.root / "moved")
    assert "0 done, 3 skipped" in workspace.run("run", "moved", "-o", "out", *FUSE).stderr


@pytest.mark.parametrize("name", ["12:30", 'x"y', "CON", "tr.", " a ", "n" * 230])
def test_folders_whose_names_are_no_ids_are_fused_with_the_others(workspace, card, name):
    for folder in ("good", name):
        (card / folder).mkdir()
        take(card / folder, rendered(0, frames=3), 1, 1000.0)
    assert "2 done" in workspace.run("run", "card", "-o", "out", *FUSE).stderr
    assert "2 skipped" in workspace.run("run", "card", "-o", "out", *FUSE).stderr
    workspace.run("scan", "card", "-o", "m.csv")
    workspace.run("check", "m.csv")


def test_a_folder_named_like_the_report_is_fused_beside_it(workspace, card):
    (card / "report.html").mkdir()
    take(card / "report.html", rendered(0, frames=3), 1, 1000.0)
    workspace.run("run", "card", "-o", "out", *FUSE)
    assert list(proposed(workspace)) == ["_report.html"]


def test_a_name_that_is_not_utf8_costs_its_stack_alone(workspace, card):
    for folder in (b"good", b"b\xe4d"):
        path = card / os.fsdecode(folder)
        path.mkdir()
        take(path, rendered(0, frames=3), 1, 1000.0)
    said = workspace.run("scan", "card", "-o", "m.csv").stdout
    assert "left out, a stack with a name that is not UTF-8" in said
    said = workspace.run("run", "card", "-o", "out", *FUSE).stderr
    assert "left out, a stack with a name that is not UTF-8" in said and "1 done" in said


def test_a_pipe_among_photographs_is_left_out(workspace, card):
    take(card, rendered(0, frames=3), 1, 1000.0)
    os.mkfifo(card / "x.jpg")
    assert (
        "left out, is not a regular file: x.jpg"
        in workspace.run("scan", "card", "-o", "m.csv").stdout
    )


def test_a_folder_that_goes_away_while_others_are_read_has_no_photographs(card, monkeypatch):
    (card / "a").mkdir()
    (card / "b").mkdir()
    take(card / "a", rendered(0, frames=3), 1, 1000.0)
    scan = files.calls.system.scan

    def passing(path):
        if path == card / "b":
            path.rmdir()
        return scan(path)

    monkeypatch.setattr(files.calls.system, "scan", passing)
    (group,) = Folder(card).propose().groups
    assert group.id == "a"


def test_a_run_that_is_refused_leaves_the_proposal_of_the_other(workspace, card):
    take(card, rendered(0, frames=3), 1, 1000.0)
    with claim(workspace.root / "out"):
        (workspace.root / "out" / PROPOSAL).write_text("id,frames,meta_why,meta_doubts\n")
        said = workspace.run("run", "card", "-o", "out", *FUSE, code=2).stderr
        assert "another run is writing here" in said
        assert proposed(workspace) == {}
    assert "1 done" in workspace.run("run", "card", "-o", "out", *FUSE).stderr


def watched(workspace, *more):
    return workspace.start(
        *("scan", "card", "-o", "m/m.csv", "--watch", "--quiet", 1, *more),
        *("--methods", "direct", "--align", "off"),
    )


def ended(process):
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    return said


def test_a_watch_goes_on_when_its_folder_or_manifest_cannot_be_had_for_a_while(workspace, card):
    take(card, rendered(0, frames=3), 1, 1000.0)
    (workspace.root / "m").write_text("a file where the folder of the manifest should be")
    process = watched(workspace)
    try:
        said = [process.stdout.readline() for _ in range(2)]
        assert "the watch goes on" in said[1]
        card.rename(workspace.root / "elsewhere")
        assert "card: cannot be read" in process.stdout.readline()
        (workspace.root / "m").unlink()
        (workspace.root / "elsewhere").rename(card)
        assert "+1 stacks" in process.stdout.readline()
        assert (workspace.root / "m" / "m.csv").exists()
    finally:
        rest = ended(process)
    assert "Traceback" not in rest


def test_a_watch_fuses_in_the_end_what_could_not_be_at_first(workspace, card):
    take(card, rendered(0, frames=3), 1, 1000.0)
    output = workspace.root / "out" / "IMG_0001" / "focus_stacked_direct.jpg"
    with claim(workspace.root / "out"):
        process = watched(workspace, "--fuse", "out")
        said = [process.stdout.readline() for _ in range(3)]
    try:
        assert "another run is writing here" in said[2]
        wait_for(output.exists)
    finally:
        assert "1 done" in ended(process)


def test_a_watch_gives_stacks_whose_capture_has_ended(card):
    now = [0.0]
    watch = Watch(Folder(card), quiet=30.0, clock=lambda: now[0])
    take(card, rendered(0), 1, 1000.0)
    assert watch.ended().groups == []
    now[0] = 20.0
    assert watch.ended().groups == []
    second = take(card, rendered(2, scene="blob"), 6, 1100.0)
    watch.ended()  # sees the second for the first time
    now[0] = 31.0
    (first,) = watch.ended().groups
    assert first.frames[0] == "IMG_0001.jpg"
    os.utime(card / second[-1])  # still being written
    now[0] = 55.0
    assert len(watch.ended().groups) == 1
    now[0] = 90.0
    assert len(watch.ended().groups) == 2


def test_a_watched_folder_is_fused_stack_by_stack_until_it_is_ended(workspace, card):
    take(card, rendered(0), 1, 1000.0)
    process = workspace.start(
        *("scan", "card", "-o", "m.csv", "--watch", "--quiet", 1, "--fuse", "out"),
        *("--methods", "direct", "--align", "off"),
    )
    output = workspace.root / "out" / "IMG_0001" / "focus_stacked_direct.jpg"
    deadline = time.monotonic() + 120
    while not output.exists():
        assert time.monotonic() < deadline
        assert process.poll() is None
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "1 done" in said


def test_pictures_that_are_not_read_are_left_out_by_name_with_a_remedy(workspace, card):
    for name in ("a.HEIC", "b.heic", "c.nef", "notes.txt", "report.pdf"):
        (card / name).touch()
    said = workspace.run("scan", "card", "-o", "m.csv", code=2).stdout
    assert "left out, is of HEIC, which is not read; convert it first" in said
    assert "a.HEIC, b.heic" in said
    assert "left out, is of camera raw (NEF), which is not read; develop" in said
    assert "notes" not in said and "report" not in said


def test_raw_beside_a_photograph_of_its_name_is_no_news(card):
    names = take(card, rendered(0), 1, 1000.0)
    for name in names:
        (card / name).with_suffix(".NEF").touch()
    proposal = Folder(card).propose()
    assert [group.frames for group in proposal.groups] == [tuple(names)]
    assert proposal.left == []


@pytest.mark.parametrize("command", [("scan", "card", "-o", "m.csv"), ("run", "card", "-o", "out")])
def test_a_folder_without_photographs_is_told_from_one_without_stacks(workspace, card, command):
    said = workspace.run(*command, code=2).stderr
    assert "no JPEG, PNG or TIFF file" in said and "raw" in said
    (card / "IMG_0001.CR3").write_bytes(b"raw")
    told = workspace.run(*command, code=2)
    assert "camera raw (CR3), which is not read" in told.stdout + told.stderr


def test_a_manifest_is_written_though_nobody_reads_the_table(workspace, card):
    take(card, rendered(0), 1, 1000.0)
    command = shlex.join([*map(str, workspace.command("scan", "card", "-o", "m.csv"))])
    subprocess.run(f"{command} | true", shell=True, cwd=workspace.root, check=True)
    assert (workspace.root / "m.csv").exists()


def test_a_run_of_a_folder_takes_photographs_in_the_order_that_was_asked_for(workspace, card):
    """The same options as those of scan, and none of them for a manifest."""
    camera = Camera(noise=2.0, breathing=-0.01)
    frames = make_stack((300, 400), frames=5, scene="lace", blur=4.0, seed=3, camera=camera).frames
    names = take(card, frames, 1, 1000.0)

    def order(*options):
        workspace.run("run", "card", "-o", "out", "--workers", 0, "--methods", "direct", *options)
        (row,) = csv.DictReader((workspace.root / "out" / PROPOSAL).read_text().splitlines())
        return [Path(name).name for name in row["frames"].split("|")]

    assert order() == names[::-1]
    assert order("--as-taken") == names
    proposal = f"out/{PROPOSAL}"
    refused = workspace.run("run", proposal, "-o", "out", "--as-taken", code=2).stderr
    assert "goes with a FOLDER" in refused


def test_a_misnamed_frame_is_fused_and_one_that_is_damaged_is_named_at_its_stack(workspace, card):
    names = take(card, rendered(0, frames=9), 1, 1000.0)
    (card / names[2]).rename(card / "IMG_0003.png")
    with (card / names[5]).open("r+b") as file:
        file.truncate(40)
    said = workspace.run("run", "card", "-o", "out", "--workers", 0, "--methods", "direct").stderr
    assert "without IMG_0006.jpg, which cannot be read" in said
    assert "1 stack of 8 photographs, 1 left out\n" in said
    (row,) = csv.DictReader((workspace.root / "out" / PROPOSAL).read_text().splitlines())
    assert row["frames"].split("|")[2].endswith("IMG_0003.png")


def test_what_compares_frames_is_made_ready_only_where_frames_are_compared(card):
    take(card, rendered(0), 1, 1000.0)
    asked = []
    Folder(card, by_scale=False, prepare=lambda: asked.append("as taken")).propose()
    Folder(card, by_scale=True, prepare=lambda: asked.append("by scale")).propose()
    for name in card.iterdir():
        name.unlink()
    Folder(card, by_scale=True, prepare=lambda: asked.append("nothing there")).propose()
    assert asked == ["by scale"]


def test_on_a_terminal_a_stack_takes_a_line_and_doubts_and_reasons_are_folded():
    names = tuple(f"IMG_{number:04}.JPG" for number in range(9))
    doubts = ("nothing tells which end is the back", "without IMG_0003.JPG, which cannot be read")
    groups = [
        Group("DCIM/100CANON/IMG_0000", names, "times and what is in focus; order by scale"),
        Group("short", names, "names", doubts),
    ]
    left = [Left(name, "a single shot: nothing before or after belongs to it") for name in names]
    whole = list(lines(groups, left, None))
    assert [line.split()[0] for line in whole] == ["DCIM/100CANON/IMG_0000", "short", "left"]
    assert whole[0].endswith("order by scale") and whole[1].endswith(f"[{'; '.join(doubts)}]")
    folded = list(lines(groups, left, 80))
    assert max(map(len, folded)) <= 80
    assert folded[0] == whole[0][:79] + "…" and folded[1] == whole[1].partition("  [")[0]
    told = " ".join(" ".join(folded[2:]).split())
    assert told == f"[{'; '.join(doubts)}] {whole[2]}"


def test_frames_in_two_folders_are_shown_with_them():
    pair = Group("s/1", ("s/back/1.jpg", "s/front/1.jpg"), "names of folders: back and front")
    assert "  back/1.jpg .. front/1.jpg  names of folders" in next(lines([pair], [], None))


def test_a_terminal_shows_the_proposal_as_wide_as_it_is(workspace, card):
    take(card, rendered(0, frames=9), 1, 1000.0)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        workspace.command("scan", "card", "-o", "m.csv"),
        cwd=workspace.root,
        env=workspace.environment() | {"TERM": "xterm", "COLUMNS": "50"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=subprocess.PIPE,
    )
    os.close(theirs)
    shown = b""
    with suppress(OSError):  # the other end was closed
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    _, said = process.communicate(timeout=60)
    row, *_ = shown.decode().splitlines()
    assert row.startswith("IMG_0001  ") and len(row) == 50 and row.endswith("…")
    assert b"1 stack of 9 photographs; look through m.csv, then" in said
