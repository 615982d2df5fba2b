"""What was found by trying to break the program, each a way by which work or data was lost."""

import errno
import os
import shutil
import signal
import time
from contextlib import suppress

import pytest

from batchstack import files
from batchstack.batch.claim import claim
from batchstack.batch.machine import ClusterOptions
from batchstack.batch.main_job import run
from batchstack.cli import main
from batchstack.options import AlignOptions, RunOptions
from tests.processes import wait_for

FUSE = ("fuse", "-o", "out", "--methods", "direct")
RUN = ("run", "pairs.csv", "--workers", 0, "--align", "off", "--methods", "direct")


@pytest.mark.parametrize("link", [False, True])
def test_a_frame_that_an_output_would_replace_is_refused_and_stays(workspace, link):
    """Of its own stack or of another; also when it is reached by another path."""
    back, front = workspace.stack("a")
    frame = workspace.root / "out" / "a" / "focus_stacked_direct.png"
    frame.parent.mkdir(parents=True)
    shutil.copy(workspace.root / back, frame)
    before = frame.read_bytes()
    given = "out/a/focus_stacked_direct.png"
    if link:
        (workspace.root / "link.png").symlink_to(frame)
        given = "link.png"
    workspace.manifest({"a": [given, front], "b": [front, given], "c": [back, front]})
    said = workspace.run(*RUN, "-o", "out", code=1).stderr
    assert f"pairs.csv:2 a: {workspace.root / given}: has the name of an output" in said
    assert f"pairs.csv:3 b: {workspace.root / given}: has the name of an output" in said
    assert "1 done, 0 skipped, 2 failed" in said
    assert frame.read_bytes() == before
    said = workspace.run("fuse", "-o", "out/a", "--methods", "direct", given, front, code=1).stderr
    assert "has the name of an output" in said
    assert frame.read_bytes() == before
    # Outputs of other runs are frames like any other.
    workspace.run("fuse", "-o", "other", "--methods", "direct", given, front)


def test_links_lead_no_stack_to_the_folder_of_another(workspace):
    """They would replace each other's outputs, and both be up to date ever after."""
    frames = workspace.stack("a")
    out = workspace.root / "out"
    (out / "a").mkdir(parents=True)
    (out / "b").symlink_to(out / "a")
    (out / "elsewhere").mkdir()
    (out / "c").symlink_to(out / "elsewhere")
    workspace.manifest({"a": frames, "b": frames, "c": frames, "b/x": frames, "a/x": frames})
    said = workspace.run(*RUN, "-o", "out", code=1).stderr
    assert f"pairs.csv:3 b: {out / 'b'}: leads to the folder of another stack" in said
    assert f"pairs.csv:5 b/x: {out / 'b' / 'x'}: leads to the folder of another stack" in said
    assert "3 done, 0 skipped, 2 failed" in said


@pytest.mark.parametrize("workers", [0, 2])
def test_a_scratch_folder_that_vanishes_ends_the_run_and_blames_no_stack(workspace, workers):
    stacks = {f"s{i}": workspace.stack(f"s{i}") for i in range(12)}
    workspace.manifest(stacks)
    run = ("run", "pairs.csv", "-o", "out", "--workers", workers, "--methods", "direct")
    process = workspace.start(*run, "--scratch", "scratch")
    wait_for(lambda: list((workspace.root / "out").glob("s*/*.png")), process)
    shutil.rmtree(workspace.root / "scratch")
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 3, said
    assert "scratch folder is not seen any more" in said
    assert not (workspace.root / "out" / "failed.csv").exists()
    assert "0 failed" in workspace.run(*run).stderr
    assert len(workspace.outputs("out")) == 12


def test_an_output_directory_may_have_any_name(workspace):
    """Also one that is no text in UTF-8; what a killed run left for it in scratch is removed."""
    workspace.manifest({"a": workspace.stack("a")})
    out = workspace.root / os.fsdecode(b"out\xff")
    killed = workspace.root / "scratch" / "batchstack-scratch-killed"
    with claim(out, killed.parent) as left:
        shutil.copytree(left.scratch, killed)
    workspace.run(*RUN, "-o", out.name, "--scratch", "scratch")
    assert (out / "a" / "focus_stacked_direct.png").exists()
    assert not killed.exists()


def test_a_pipe_given_as_a_frame_is_refused(workspace):
    """It is not waited for, as nobody may ever write to it."""
    back, _ = workspace.stack("a")
    os.mkfifo(workspace.root / "pipe.png")
    said = workspace.run(*FUSE, back, "pipe.png", code=2).stderr
    assert "pipe.png: is not a regular file" in said


def test_workers_that_cannot_be_started_are_one_sentence(workspace, monkeypatch):
    """The name of a socket in a folder for temporary files is bounded in length."""
    workspace.manifest({"a": workspace.stack("a")})
    folder = workspace.root / ("t" * 120)
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    said = workspace.run("run", "pairs.csv", "-o", "out", code=2).stderr
    assert "workers cannot be started on this machine" in said
    assert "TMPDIR" in said
    assert workspace.run(*RUN, "-o", "out")


def test_what_a_killed_run_left_in_scratch_is_removed_whatever_path_led_there(workspace):
    scratch, out = workspace.root / "scratch", workspace.root / "out"
    out.mkdir()
    (workspace.root / "link").symlink_to(out)
    with claim(workspace.root / "link", scratch) as killed:
        shutil.copytree(killed.scratch, scratch / "batchstack-scratch-left")
    with claim(out, scratch) as held:
        assert [path.name for path in scratch.iterdir()] == [held.scratch.name]


def test_scratch_of_another_hosts_directory_of_the_same_path_stays(workspace):
    """The folder under the path is another one, as in a second container with its own disk."""
    scratch, out = workspace.root / "scratch", workspace.root / "out"
    with claim(out, scratch) as other:
        out.rename(workspace.root / "on the other host")
        with claim(out, scratch):
            assert (other.scratch / "owner").exists()


def test_scratch_where_no_folder_can_be_made_is_refused(workspace):
    """The system calls a new folder in /proc missing, although its parent is there."""
    workspace.manifest({"a": workspace.stack("a")})
    said = workspace.run(*RUN, "-o", "out", "--scratch", "/proc", code=2).stderr
    assert "/proc/" in said
    assert "cannot be made" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_before_anything_is_fused_ends_in_order(workspace, number):
    """While the plan is made, or workers start: nothing is under way that could be finished."""
    frames = workspace.stack("a")
    workspace.manifest({f"s{i}": frames for i in range(2000)})
    process = workspace.start("run", "pairs.csv", "-o", "out")
    records = workspace.root / "out" / ".batchstack"
    wait_for(lambda: (records / "run").exists(), process)
    process.send_signal(number)
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert {path.name for path in records.iterdir()} - {"journal.jsonl"} == {"lock"}


@pytest.mark.parametrize("workers", [0, 2])
def test_a_run_that_gave_up_was_not_interrupted(workspace, workers):
    """Also if stacks that were under way finish after the last failure that is allowed."""
    stacks = {f"s{i:02}": workspace.stack(f"s{i:02}") for i in range(12)}
    frame = workspace.root / stacks["s00"][1]
    content = bytearray(frame.read_bytes())
    content[len(content) // 2] ^= 255
    frame.write_bytes(content)
    workspace.manifest(stacks)
    run = ("run", "pairs.csv", "-o", "out", "--workers", workers, "--methods", "direct")
    said = workspace.run(*run, "--max-failures", 1, code=1).stderr
    assert "not started" in said
    assert "--max-failures" in said
    assert "interrupted" not in said
    # What the plan refuses is a failure like any other, and nothing is started after it.
    frame.write_bytes(b"no image")
    said = workspace.run(*run, "--max-failures", 1, "--rerun", code=1).stderr
    assert "0 done, 0 skipped, 1 failed, 11 not started" in said


@pytest.mark.parametrize("kind", ["notes", "folder"])
def test_a_strangers_failed_csv_is_neither_replaced_nor_removed(workspace, kind):
    workspace.manifest({"a": workspace.stack("a")})
    path = workspace.root / "out" / "failed.csv"
    path.parent.mkdir()
    path.mkdir() if kind == "folder" else path.write_text("lens,why\n50mm,oil\n")
    said = workspace.run(*RUN, "-o", "out", code=2).stderr
    assert "failed.csv: is not a list that a run has left; rename or remove it" in said
    assert [left.name for left in path.parent.iterdir()] == ["failed.csv"]
    assert kind == "folder" or path.read_text() == "lens,why\n50mm,oil\n"


def test_records_that_cannot_be_written_end_the_run_as_lost(workspace, monkeypatch, capfd):
    """It has not finished, so its exit code is not that of failed stacks."""
    workspace.manifest({"a": workspace.stack("a"), "b": workspace.stack("b")})
    monkeypatch.chdir(workspace.root)

    class Full(files.System):
        def sync(self, file):
            if str(file.name).endswith("journal.jsonl"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            super().sync(file)

    monkeypatch.setattr(files.calls, "system", Full())
    monkeypatch.setattr("sys.argv", ["batchstack", *map(str, RUN), "-o", "out"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 3
    assert "No space left on device; make room and run again" in capfd.readouterr().err


def test_what_stands_in_the_way_of_an_output_is_named_with_a_remedy(workspace):
    workspace.manifest({name: workspace.stack(name) for name in ("file", "folder", "free")})
    out = workspace.root / "out"
    (out / "folder" / "focus_stacked_direct.png").mkdir(parents=True)
    (out / "file").write_text("a stranger's")
    said = workspace.run(*RUN, "-o", "out", code=1).stderr
    assert f"{out / 'file'}: cannot be made: File exists; rename what has this name" in said
    assert "Is a directory; rename the folder" in said
    assert "1 done, 0 skipped, 2 failed" in said
    assert (out / "file").read_text() == "a stranger's"


def test_copies_made_of_links_do_not_share_their_records(workspace):
    """As of `cp -al`: what is done in one directory would count as done in the other."""
    workspace.manifest({"a": workspace.stack("a", suffix=".tif")})
    run = (*RUN, "--no-report")
    workspace.run(*run, "-o", "out", "--beta", 0.1)
    shutil.copytree(workspace.root / "out", workspace.root / "copy", copy_function=os.link)
    before = workspace.outputs("out")
    workspace.run(*run, "-o", "copy", "--beta", 0.9)
    assert workspace.outputs("out") == before
    assert "everything is up to date" in workspace.run(*run, "-o", "out", "--beta", 0.1).stderr
    assert "1 done" in workspace.run(*run, "-o", "out", "--beta", 0.9).stderr
    assert workspace.outputs("out") == workspace.outputs("copy")


def test_what_is_whole_again_has_not_failed(workspace):
    frames = workspace.stack("a")
    workspace.manifest({"a": frames, "b": workspace.stack("b")})
    run = (*RUN, "-o", "out", "--no-report")
    workspace.run(*run)
    frame = workspace.root / frames[0]
    whole, times = frame.read_bytes(), frame.stat()
    frame.write_bytes(whole[: len(whole) // 2])
    workspace.run(*run, code=1)
    assert "1 failed" in workspace.run("status", "out", code=1).stdout
    frame.write_bytes(whole)
    os.utime(frame, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert "everything is up to date" in workspace.run(*run).stderr
    assert "0 failed" in workspace.run("status", "out").stdout
    assert not (workspace.root / "out" / "failed.csv").exists()


def test_a_record_is_never_longer_than_what_is_read(workspace, monkeypatch):
    """What people wrote about a stack goes before what was done."""
    monkeypatch.setattr(files.LineFile, "longest", 5000)
    frames = workspace.stack("a")
    workspace.manifest({"a": frames}, columns=[("meta_note", ["x" * 6000])])
    out = workspace.root / "out"
    options = RunOptions(methods=("direct",), alignment=AlignOptions(align="off"))
    for done, skipped in ((1, 0), (0, 1)):
        summary = run(workspace.root / "pairs.csv", out, options, ClusterOptions(workers=0))
        assert (summary.done, summary.skipped) == (done, skipped)


def test_an_interrupt_is_one_whatever_a_library_makes_of_it(workspace, monkeypatch, capfd):
    """Raised inside the compiler it is ignored there, and the compiler fails."""

    def interrupted(*arguments, **options):
        with suppress(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(1)
        raise ValueError("no machine code")

    monkeypatch.setattr("batchstack.cli.fuse.make_plan", interrupted)
    before = {n: signal.signal(n, signal.SIG_DFL) for n in (signal.SIGTERM, signal.SIGHUP)}
    before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.default_int_handler)
    frames = [str(workspace.root / frame) for frame in workspace.stack("a")]
    monkeypatch.setattr("sys.argv", ["batchstack", "fuse", *frames, "-o", str(workspace.root)])
    try:
        with pytest.raises(SystemExit) as end:
            main.main()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert end.value.code == 130
    assert capfd.readouterr().err == "batchstack: interrupted; finished work is kept\n"
