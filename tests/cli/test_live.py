"""How a run tells of itself: on a terminal, to programs, and to those who look on."""

import io
import json
import os
import subprocess
import threading
import time

import pytest
from rich.console import Console

from batchstack.batch.claim import FOLDER
from batchstack.batch.jobs import Input
from batchstack.batch.ledger import JOURNAL, Ledger
from batchstack.batch.looking_on import Onlooker
from batchstack.batch.pace import Pace
from batchstack.batch.records import Record
from batchstack.cli.live import Doing, Shown, render, render_one
from batchstack.images import Written
from tests.processes import wait_for

RUN = ("run", "pairs.csv", "-o", "out", "--workers", 0, "--methods", "direct", "--align", "off")
SHOW_CURSOR, HIDE_CURSOR = "\x1b[?25h", "\x1b[?25l"


# --- how long it takes


def test_the_time_left_is_exact_at_a_constant_pace():
    pace = Pace(10, 100.0)
    for done in range(1, 10):
        pace.take(10.0)
        assert pace.seconds_left(3.0 * done) == pytest.approx(3.0 * (10 - done))
    assert pace.share() == pytest.approx(0.9)


def test_what_fails_at_once_makes_no_pace():
    pace = Pace(10, 100.0)
    for _ in range(5):
        pace.give_up(10.0)
    assert pace.seconds_left(5.0) is None
    pace.take(10.0)
    assert pace.seconds_left(10.0) == pytest.approx(40.0)
    assert pace.share() == pytest.approx(0.6)


def test_stacks_under_way_count_as_far_as_they_are():
    pace = Pace(2, 100.0)
    assert pace.seconds_left(30.0) is None
    assert pace.seconds_left(30.0, within=25.0) == pytest.approx(90.0)
    assert pace.seconds_left(1.0, within=25.0) is None  # too early to tell


# --- a terminal


def on_terminal(workspace, *arguments, environment=(), watch=lambda fd: True):
    """Run a command whose stderr is a terminal; its exit code, stdout and what was shown."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        workspace.command(*arguments),
        cwd=workspace.root,
        env=workspace.environment() | {"TERM": "xterm", "COLUMNS": "90"} | dict(environment),
        stdout=subprocess.PIPE,
        stderr=theirs,
    )
    os.close(theirs)
    shown = bytearray()

    def read():
        try:
            while data := os.read(ours, 4096):
                shown.extend(data)
                if not watch(bytes(shown)):
                    return
        except OSError:  # the other end was closed
            return
        finally:
            os.close(ours)

    reader = threading.Thread(target=read)
    reader.start()
    out, _ = process.communicate(timeout=240)
    reader.join()
    return process.returncode, out.decode(), shown.decode(errors="replace")


@pytest.fixture
def three(workspace):
    """Two stacks that can be fused and a broken one between them."""
    stacks = {name: workspace.stack(name) for name in ("a[red]", "broken", "c")}
    (workspace.root / stacks["broken"][1]).write_bytes(b"\x89PNG\r\n\x1a\nno more")
    workspace.manifest(stacks)
    return workspace


def test_a_terminal_shows_a_run_and_is_left_as_it_was(three):
    code, out, shown = on_terminal(three, *RUN, "--verbose")
    assert (code, out) == (1, "")
    assert "of 2 stacks" in shown  # what is refused is not waited for
    assert "a[red]: direct in" in shown
    assert "2 done, 0 skipped, 1 failed" in shown
    assert shown.rindex(SHOW_CURSOR) > shown.rindex(HIDE_CURSOR)


def test_a_run_that_goes_on_says_how_many_are_done(three):
    three.run(*RUN, code=1)
    (three.root / "out" / "c" / "focus_stacked_direct.png").unlink()
    said = three.run(*RUN, code=1).stderr
    assert "batchstack: 1 up to date, 1 to fuse\n" in said
    assert "up to date, " not in three.run(*RUN, "--rerun", code=1).stderr


def test_a_dumb_terminal_gets_no_control_characters(three):
    code, _, shown = on_terminal(three, *RUN, environment={"TERM": "dumb"})
    assert code == 1
    assert "\x1b" not in shown


def test_a_terminal_that_goes_away_costs_nothing(three):
    code, *_ = on_terminal(three, *RUN, watch=lambda shown: b"stacks" not in shown)
    assert code == 1
    assert three.finished("out") == 2


def test_a_view_fits_its_terminal_and_shows_names_as_they_are():
    doing = [
        Doing(f"10.0.0.{i}:80", f"{'x' * 60}[bold]", "fusing", 0.5, 70.0, 65.0) for i in range(40)
    ]
    pace = Pace(5000, 60000.0, 312, 2, 3744.0, 24.0)
    shown = Shown(pace, 0.0, 91.0, doing, ["m.csv:3 eye: [/red] is damaged\nand more"], [("a", 1)])
    console = Console(file=io.StringIO(), width=72, height=24)
    console.print(render(shown, 24, 72))
    lines = console.file.getvalue().splitlines()
    assert len(lines) <= 24
    assert max(map(len, lines)) <= 72
    text = "\n".join(lines)
    for part in (
        "314 of 5,000 stacks",
        "41.1 MP/s",
        "about 23 min left",
        "…xx",
        "and 28 more",
    ):
        assert part in text
    assert "silent 1:05 min" in text
    assert "x[bold]" in text
    assert "[/red] is damaged" in text


def test_a_narrow_terminal_shows_what_tells_stacks_apart_and_the_time_left():
    doing = [Doing("10.0.0.1:80", "DCIM/100CANON/IMG_9783", "aligning", 0.5, 70.0, 1.0)]
    failure = "m.csv:3 eye: /a card/100CANON/IMG_9716.JPG: is damaged"
    shown = Shown(Pace(5000, 60000.0, 312, 2, 3744.0, 24.0), 0.0, 91.0, doing, [failure])
    for width, expected in ((40, ["IMG_9783", "left"]), (80, ["IMG_9716.JPG: is damaged"])):
        console = Console(file=io.StringIO(), width=width, height=24)
        console.print(render(shown, 24, width))
        text = console.file.getvalue()
        assert max(map(len, text.splitlines())) <= width
        assert [part for part in expected if part not in text] == []


def test_one_stack_is_shown_by_its_phase_and_time():
    console = Console(file=io.StringIO(), width=40)
    console.print(render_one(0.5, "fusing", 65.0))
    (line,) = console.file.getvalue().splitlines()
    assert line.startswith("fusing") and line.rstrip().endswith("50 %  1:05 min")


# --- programs


def events(text):
    return [json.loads(line) for line in text.splitlines()]


def test_a_log_for_programs_has_what_happens(three):
    three.run(*RUN, "--json-log", "log.jsonl", code=1)
    said = events((three.root / "log.jsonl").read_text())
    of = {
        kind: [event for event in said if event["event"] == kind]
        for kind in ("run_started", "stack_started", "stack_done", "stack_failed", "run_finished")
    }
    assert [len(those) for those in of.values()] == [1, 2, 2, 1, 1]
    assert (of["run_started"][0]["stacks"], of["run_finished"][0]["done"]) == (2, 2)
    assert {event["stack"] for event in of["stack_done"]} == {"a[red]", "c"}
    assert of["stack_failed"][0]["stack"] == "broken"
    assert all(
        three.root.joinpath(path).exists() for e in of["stack_done"] for path in e["outputs"]
    )
    assert [event["time"] for event in said] == sorted(event["time"] for event in said)
    three.run(*RUN, "--json-log", "log.jsonl", code=1)
    again = events((three.root / "log.jsonl").read_text())
    assert again[: len(said)] == said
    assert next(e for e in again[len(said) :] if e["event"] == "run_started")["skipped"] == 2


def test_stderr_may_be_the_log_and_has_nothing_else(three):
    done = three.run(*RUN, "--json-log", "-", code=1)
    said = events(done.stderr)
    assert said[-1]["event"] == "message"  # where the report is
    assert "run_finished" in {event["event"] for event in said}


def test_a_log_that_takes_nothing_costs_nothing_and_one_that_cannot_be_is_refused(three):
    three.run(*RUN, "--json-log", "/dev/full", code=1)
    assert three.finished("out") == 2
    (three.root / "file").touch()
    said = three.run(*RUN, "--json-log", "file/log", code=2).stderr
    assert said.startswith("batchstack: --json-log file: cannot be made")


def test_a_run_of_a_folder_tells_programs_what_it_proposes_and_why_there_is_nothing(workspace):
    (workspace.root / "frames").mkdir()
    (workspace.root / "frames" / "torn.jpg").write_bytes(b"\xff\xd8\xff")
    workspace.run("run", "frames", "-o", "out", "--json-log", "log.jsonl", code=2)
    said = events((workspace.root / "log.jsonl").read_text())
    assert [event["event"] for event in said] == ["message", "run_lost"]
    for old, new in zip(workspace.stack("a"), ("a_back.png", "a_front.png"), strict=True):
        (workspace.root / old).rename(workspace.root / "frames" / new)
    folder = ("run", "frames", *RUN[2:], "--json-log", "-")
    said = events(workspace.run(*folder).stderr)
    assert "a_back.png .. a_front.png" in said[0]["text"]
    assert "run_finished" in {event["event"] for event in said}


def test_a_log_is_appended_to_logs_alone(three):
    photograph = three.root / three.stack("d")[0]
    before = photograph.read_bytes()
    said = three.run(*RUN, "--json-log", photograph, code=2).stderr
    assert "holds something else; give a file of its own" in said
    assert photograph.read_bytes() == before


def test_a_file_of_options_may_ask_for_the_log_on_stderr(three):
    (three.root / "o.toml").write_text('json-log = "-"\n')
    said = events(three.run(*RUN, "--config", "o.toml", code=1).stderr)
    assert "run_finished" in {event["event"] for event in said}
    assert not (three.root / "-").exists()
    assert 'json-log = "-"' in three.run(*RUN, "--json-log", "-", "--print-config").stdout


# --- those who look on


def record(size=3):
    inputs = tuple(Input(f"{n}", 1, 2, "d") for n in range(2))
    return {"direct": Record({}, inputs, {"a.png": Written(size, "f00d")})}


def finish(ledger, stack, megapixels=2.0, seconds=1.0):
    facts = {"megapixels": megapixels, "seconds": seconds, "finished": round(time.time()) + 1}
    ledger.append_done(stack, record(), facts)


def test_who_looks_on_sees_the_last_run_alone(tmp_path):
    with Ledger(tmp_path) as ledger:
        finish(ledger, "before the runs that tell of themselves")
        onlooker = Onlooker(tmp_path)
        assert onlooker.look() is None
        ledger.append_start(3, 12.0)
        finish(ledger, "a")
        assert onlooker.look().pace == Pace(3, 12.0, 1, 0, 4.0)
        ledger.append_end("interrupted")
        assert onlooker.look().how == "interrupted"
        ledger.append_start(2, 8.0)
        finish(ledger, "b")
        ledger.append_failed("c", "m.csv:3 c: is damaged")
        run = onlooker.look()
    assert run.pace == Pace(2, 8.0, 1, 1, 4.0, 4.0)
    assert (run.how, list(run.failures)) == ("", ["m.csv:3 c: is damaged"])
    assert [stack for stack, _ in run.finished] == ["b"]
    assert set(Ledger(tmp_path).ids()) >= {"a", "b", "c"}


def test_a_line_that_is_being_written_is_read_when_it_is_whole(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append_start(2, 8.0)
        finish(ledger, "a")
    journal = tmp_path / FOLDER / JOURNAL
    whole = journal.read_bytes()
    journal.write_bytes(whole[:-9])
    onlooker = Onlooker(tmp_path)
    assert onlooker.look().pace.done == 0
    journal.write_bytes(whole)
    assert onlooker.look().pace.done == 1
    assert onlooker.look().pace.done == 1


def test_damage_in_what_runs_tell_of_themselves_is_passed_over(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append_start(2, 8.0)
    with (tmp_path / FOLDER / JOURNAL).open("ab") as file:
        file.write(
            b'{"run":5,"v":2}\n{"run":{"started":"x","stacks":[],"megapixels":1e999}}\n{"run":'
        )
    assert Onlooker(tmp_path).look().pace == Pace(0, 0.0)
    assert list(Ledger(tmp_path)) == []


def test_a_run_is_followed_until_it_ends(workspace):
    (workspace.root / "out").mkdir()
    with Ledger(workspace.root / "out") as ledger:
        ledger.append_start(2, 8.0)
        process = workspace.start("status", "out", "--watch")
        try:
            finish(ledger, "a")
            first = process.stdout.readline()
            ledger.append_failed("b", "m.csv:3 b: is damaged")
            ledger.append_end("finished")
            rest, _ = process.communicate(timeout=240)
        finally:
            process.kill()
            process.wait()
    assert "of 2 stacks" in first
    assert "finished: 2 of 2 stacks, 1 failed" in rest
    assert process.returncode == 1


def test_watching_ends_with_ctrl_c_and_needs_a_run(workspace):
    (workspace.root / "out").mkdir()
    assert "no run has written here" in workspace.run("status", "out", "--watch", code=2).stderr
    with Ledger(workspace.root / "out") as ledger:
        finish(ledger, "a")
        said = workspace.run("status", "out", "--watch", code=2).stderr
        assert "no run has begun there that can be watched" in said
        ledger.append_start(2, 8.0)
    process = workspace.start("status", "out", "--watch")
    assert "of 2 stacks" in process.stdout.readline()
    process.send_signal(2)
    wait_for(lambda: process.poll() is not None)
    assert process.returncode == 0
    process.stdout.close()


def test_a_run_that_is_killed_or_ends_says_so_to_those_who_look_on(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    workspace.run(*RUN)
    run = Onlooker(workspace.root / "out").look()
    assert (run.how, run.pace.done, run.pace.megapixels) == ("finished", 1, pytest.approx(0.0096))
    assert run.pace.fused == pytest.approx(run.pace.megapixels, rel=0.1)
    workspace.run(*RUN)  # with nothing to do it is none that could be watched
    assert len((workspace.root / "out" / FOLDER / JOURNAL).read_bytes().splitlines()) == 3


def test_refused_stacks_are_among_those_that_are_watched(three):
    three.run(*RUN, code=1)
    run = Onlooker(three.root / "out").look()
    assert (run.how, run.pace.stacks, run.pace.done, run.pace.failed) == ("finished", 3, 2, 1)
    assert "is damaged" in run.failures[0] or "broken" in run.failures[0]
    three.run(*RUN, code=1)  # of which the rest is done
    said = three.run("status", "out", "--watch", code=1).stderr
    assert "finished: 1 of 1 stacks, 1 failed" in said


def test_a_run_with_nothing_to_do_ends_one_that_was_killed(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    workspace.run(*RUN)
    with Ledger(workspace.root / "out") as ledger:
        ledger.append_start(5, 1.0)
    workspace.run(*RUN)
    assert "lost: 0 of 5" in workspace.run("status", "out", "--watch").stderr


def test_a_clock_that_was_set_back_hides_no_stack(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append_start(1, 4.0)
        ledger.append_done("a", record(), {"megapixels": 2.0, "seconds": 1.0, "finished": 5})
    assert Onlooker(tmp_path).look().pace.done == 1


def test_frames_that_were_moved_are_no_work_of_the_run_that_finds_them(workspace):
    workspace.manifest({"s": workspace.stack("s"), "t": workspace.stack("t")})
    workspace.run(*RUN)
    os.utime(workspace.root / "frames" / "s_0.png")
    workspace.run(*RUN)
    run = Onlooker(workspace.root / "out").look()
    assert (run.pace.stacks, run.pace.done) == (2, 2)
