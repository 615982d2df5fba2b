import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchstack.batch.jobs import Input
from batchstack.batch.ledger import (
    FOLDER,
    JOURNAL,
    Ledger,
    Record,
    lock,
    what_changed,
    why_not_done,
)
from batchstack.errors import OutputInUseError
from batchstack.images import file_digest

KEY = {"algorithm": 1, "format": "png", "levels": 5}


@pytest.fixture
def done(tmp_path):
    """A frame pair, its outputs, and the record that makes them done."""
    frames = [tmp_path / "a.png", tmp_path / "b.png"]
    inputs = []
    for frame in frames:
        frame.write_bytes(frame.name.encode() * 10)
        status = frame.stat()
        inputs.append(Input(str(frame), status.st_size, status.st_mtime_ns, file_digest(frame)))
    (tmp_path / "fused.png").write_bytes(b"12345")
    return frames, Record(KEY, tuple(inputs), {"fused.png": 5}), tmp_path


def refuse_to_read(path):
    raise AssertionError(f"{path} was read without need")


def test_what_is_recorded_and_untouched_is_done_without_reading(done):
    frames, record, folder = done
    assert why_not_done(record, KEY, folder) is None
    assert what_changed(record.inputs, frames, refuse_to_read) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, folder: (folder / "fused.png").unlink(), "fused.png is missing"),
        (lambda f, folder: (folder / "fused.png").write_bytes(b"1"), "1 bytes instead of 5"),
        (lambda f, folder: f[0].write_bytes(b"x" * 50), "a.png changed"),
        (lambda f, folder: f[0].write_bytes(b"longer than before" * 9), "a.png changed"),
        (lambda f, folder: f.reverse(), "b.png changed"),
        (lambda f, folder: f.append(f[0]), "3 frames instead of 2"),
    ],
)
def test_every_change_is_noticed(done, change, reason):
    frames, record, folder = done
    change(frames, folder)
    found = why_not_done(record, KEY, folder) or what_changed(record.inputs, frames, file_digest)
    assert reason in found


def test_a_changed_option_is_named(done):
    _, record, folder = done
    reason = why_not_done(record, KEY | {"levels": 4}, folder)
    assert reason == "changed: levels 5 -> 4"


def test_touched_and_moved_frames_are_the_same_frames(done):
    frames, record, folder = done
    os.utime(frames[0], ns=(1, 1))
    moved = [frames[0], frames[1].rename(folder / "elsewhere.png")]
    assert what_changed(record.inputs, moved, file_digest) is None


def test_another_file_of_the_same_size_and_time_is_another_frame(done):
    frames, record, folder = done
    other = folder / "other.png"
    other.write_bytes(b"B.png" * 10)
    status = frames[1].stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert what_changed(record.inputs, [frames[0], other], file_digest)


def test_records_outlive_the_process(done):
    _, record, folder = done
    Ledger(folder).append_done("s", {"direct": record}, {"seconds": 1})
    history = Ledger(folder).history("s")
    assert history.records == {"direct": record}
    assert history.facts == {"seconds": 1}


def test_a_failure_keeps_earlier_records_and_success_clears_it(done):
    _, record, folder = done
    ledger = Ledger(folder)
    ledger.append_done("s", {"direct": record})
    ledger.append_failed("s", "broken")
    again = Ledger(folder).history("s")
    assert again.records == {"direct": record}
    assert again.error == "broken"
    ledger.append_done("s", {"laplacian": record})
    again = Ledger(folder).history("s")
    assert set(again.records) == {"direct", "laplacian"}
    assert again.error is None


@given(cut=st.integers(0, 400))
def test_a_torn_last_line_costs_one_record_and_no_more(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn")
    record = Record(KEY, (Input("a", 1, 2, "d"),), {"fused.png": 5})
    ledger = Ledger(folder)
    ledger.append_done("first", {"direct": record})
    ledger.append_done("second", {"direct": record})
    journal = folder / FOLDER / JOURNAL
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(lines[0] + lines[1][: min(cut, len(lines[1]))])
    torn = Ledger(folder)
    assert torn.history("first").records
    torn.append_done("third", {"direct": record})
    after = Ledger(folder)
    assert after.history("first").records
    assert after.history("third").records


def test_lines_of_strangers_are_passed_over(tmp_path):
    journal = tmp_path / FOLDER / JOURNAL
    journal.parent.mkdir()
    journal.write_bytes(
        b'\xff\xfe\n[1]\n{"other": 1}\n' + json.dumps({"id": "s", "error": "e"}).encode()
    )
    assert set(Ledger(tmp_path).stacks) == {"s"}


def test_only_one_run_at_a_time(tmp_path):
    with lock(tmp_path), pytest.raises(OutputInUseError, match=str(tmp_path)):
        lock(tmp_path)
    with lock(Path(tmp_path)):
        pass
