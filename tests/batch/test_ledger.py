import errno
import json
import os
import tracemalloc
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from batchstack import files
from batchstack.batch.claim import FOLDER, claim
from batchstack.batch.jobs import Input
from batchstack.batch.ledger import JOURNAL, Ledger, existing_ledger
from batchstack.batch.manifest import Row, load_manifest, write_records
from batchstack.batch.records import Record
from batchstack.batch.up_to_date import what_changed, why_not_done
from batchstack.errors import FileError, OptionError, OutputInUseError
from batchstack.images import Written, file_digest

KEY = {"algorithm": 1, "format": "png", "levels": 5}
RECORD = Record(KEY, (Input("a", 1, 2, "d"),), {"fused.png": Written(5, "f00d")})
# As written before digests of outputs were recorded.
OLD = {
    "id": "old",
    "inputs": [["a", 1, 2, "d"]],
    "methods": {"direct": {"key": KEY, "outputs": {"fused.png": 5}, "scores": {}}},
    "facts": {"seconds": 1},
}


def journal(folder, content=b""):
    """The journal of a folder, written anew if a content is given."""
    path = folder / FOLDER / JOURNAL
    path.parent.mkdir(exist_ok=True)
    if content:
        path.write_bytes(content)
    return path


def as_line(data):
    return json.dumps(data).encode() + b"\n"


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
    return frames, Record(KEY, tuple(inputs), {"fused.png": Written(5)}), tmp_path


def names(frames):
    return [str(frame) for frame in frames]


def refuse_to_read(path):
    raise AssertionError(f"{path} was read without need")


def test_what_is_recorded_and_untouched_is_done_without_reading(done):
    frames, record, folder = done
    assert why_not_done(record, KEY, folder.parent, folder.name) is None
    assert what_changed(record.inputs, names(frames), refuse_to_read) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda f, folder: (folder / "fused.png").unlink(), "fused.png is missing"),
        (lambda f, folder: (folder / "fused.png").write_bytes(b"1"), "1 bytes instead of 5"),
        (lambda f, folder: f[0].write_bytes(b"x" * 50), "a.png changed"),
        (lambda f, folder: f[0].write_bytes(b"longer than before" * 9), "a.png changed"),
        (lambda f, folder: f.reverse(), "frames are in another order"),
        (lambda f, folder: f.append(f[0]), "3 frames instead of 2"),
    ],
)
def test_every_change_is_noticed(done, change, reason):
    frames, record, folder = done
    change(frames, folder)
    found = why_not_done(record, KEY, folder.parent, folder.name)
    found = found or what_changed(record.inputs, names(frames), file_digest)
    assert reason in found


def test_a_changed_option_is_named(done):
    _, record, folder = done
    reason = why_not_done(record, KEY | {"levels": 4}, folder.parent, folder.name)
    assert reason == "changed: levels 5 -> 4"


def test_touched_and_moved_frames_are_the_same_frames(done):
    frames, record, folder = done
    os.utime(frames[0], ns=(1, 1))
    moved = [frames[0], frames[1].rename(folder / "elsewhere.png")]
    assert what_changed(record.inputs, names(moved), file_digest) is None


def test_another_file_of_the_same_size_and_time_is_another_frame(done):
    frames, record, folder = done
    other = folder / "other.png"
    other.write_bytes(b"B.png" * 10)
    status = frames[1].stat()
    os.utime(other, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert what_changed(record.inputs, names([frames[0], other]), file_digest)


def test_an_option_that_is_gone_is_named_too(done):
    _, record, folder = done
    resized = replace(record, key=KEY | {"resize": True})
    assert why_not_done(resized, KEY, folder.parent, folder.name) == "changed: resize True -> None"


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


def test_a_ledger_knows_what_it_has_appended(tmp_path):
    with Ledger(tmp_path) as ledger:
        for number in range(3):
            ledger.append_done("s", {"direct": replace(RECORD, key={"levels": number})})
            assert ledger.history("s").records["direct"].key == {"levels": number}
            ledger.append_done(f"other {number}", {"direct": RECORD})
        assert list(ledger.ids()) == ["s", "other 0", "other 1", "other 2"]
        assert dict(ledger) == dict(Ledger(tmp_path))


records = st.builds(
    Record,
    st.dictionaries(
        st.sampled_from(["algorithm", "levels", "beta", "format"]),
        st.sampled_from([None, 1, 2, 0.5, "png", [3, 5], False]),
    ),
    st.just(RECORD.inputs),
    st.dictionaries(
        st.sampled_from(["a.png", "b", "höhle 7.tif"]),
        st.builds(Written, st.integers(0, 2**60), st.none() | st.just("0a" * 16), st.just(())),
    ),
    st.dictionaries(st.just("a"), st.dictionaries(st.just("Qabf"), st.floats(0, 1))),
)


@given(known=st.dictionaries(st.sampled_from("abcd"), records, min_size=1), stack=st.text())
@example(known={"a": RECORD}, stack='sl/ash and "quote" \\ \n é \U0001f600')
def test_what_is_appended_is_read_again(tmp_path_factory, known, stack):
    stack_id = "s" + "".join(c for c in stack if c not in "/\0" and not "\ud800" <= c <= "\udfff")
    folder = tmp_path_factory.mktemp("again")
    with Ledger(folder) as ledger:
        ledger.append_done(stack_id, known)
    assert Ledger(folder).history(stack_id).records == known


def test_what_all_methods_share_is_written_once(tmp_path):
    methods = [f"method {number}" for number in range(8)]
    with Ledger(tmp_path) as ledger:
        for stack, some in (("one", methods[:1]), ("all", methods)):
            long = {"a name that is long": "and a value" * 20}
            known = {name: replace(RECORD, key={"algorithm": name, **long}) for name in some}
            ledger.append_done(stack, known)
    one, all_of_them = journal(tmp_path).read_bytes().splitlines()
    assert len(all_of_them) - len(one) < 7 * 120


def test_lines_of_earlier_versions_are_read(tmp_path):
    journal(tmp_path, as_line(OLD) + as_line({"id": "bad", "error": "broken"}))
    ledger = Ledger(tmp_path)
    record = Record(KEY, RECORD.inputs, {"fused.png": Written(5, None)})
    assert ledger.history("old").records == {"direct": record}
    assert ledger.history("old").facts == {"seconds": 1}
    assert list(ledger.failed()) == [("bad", "broken", None)]


# --- failures


def test_failures_keep_their_rows(tmp_path):
    for name in ("a.png", "b.png", "c.png"):
        (tmp_path / name).touch()
    paths = tuple(f"{tmp_path}/{name}.png" for name in "abc")
    rows = (
        Row("pair", paths[:2], "m.csv:2", ("direct",), (("beta", 0.5),), (("meta_eye", "left"),)),
        Row("three", paths, "m.csv:3"),
    )
    with Ledger(tmp_path) as ledger:
        for row in (*rows, Row("mended", paths, "m.csv:4")):
            ledger.append_failed(row.id, f"{row.id} is broken", row)
        ledger.append_done("mended", {"direct": RECORD})
    failed = list(Ledger(tmp_path).failed())
    assert [failure[:2] for failure in failed] == [
        ("pair", "pair is broken"),
        ("three", "three is broken"),
    ]
    write_records(tmp_path / "failed.csv", [row for _, _, row in failed])
    assert load_manifest(tmp_path / "failed.csv", known_methods=["direct"]).rows == rows


def test_only_the_last_line_of_a_stack_says_whether_it_failed(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append_failed("s", "first")
        ledger.append_failed("t", "other")
        ledger.append_failed("s", "second")
        for known in (ledger, Ledger(tmp_path)):
            assert [failure[:2] for failure in known.failed()] == [("t", "other"), ("s", "second")]
        whole = journal(tmp_path).read_bytes()
        ledger.append_done("s", {"direct": RECORD})
    assert [failure[0] for failure in Ledger(tmp_path).failed()] == ["t"]
    # The record that clears a failure counts when it is whole.
    cleared = journal(tmp_path).read_bytes()
    for length in range(len(whole) + 1, len(cleared) - 1):
        journal(tmp_path, cleared[:length])
        assert [failure[0] for failure in Ledger(tmp_path).failed()] == ["t", "s"]


def test_an_error_that_is_no_text_is_kept_as_far_as_it_is(tmp_path):
    with Ledger(tmp_path) as ledger:
        ledger.append_failed("s", "/data/\udcff.png: is damaged")
    assert Ledger(tmp_path).history("s").error == "/data/?.png: is damaged"


# --- journals that are not as they were written


@given(cut=st.integers(0, 400))
def test_a_torn_last_line_costs_one_record_and_no_more(tmp_path_factory, cut):
    folder = tmp_path_factory.mktemp("torn")
    with Ledger(folder) as ledger:
        ledger.append_done("first", {"direct": RECORD})
        ledger.append_done("second", {"direct": RECORD})
    lines = journal(folder).read_bytes().splitlines(keepends=True)
    journal(folder, lines[0] + lines[1][: min(cut, len(lines[1]))])
    with Ledger(folder) as torn:
        assert torn.history("first").records
        assert ("second" in torn.ids()) == (cut >= len(lines[1]) - 1)
        torn.append_done("third", {"direct": RECORD})
    after = Ledger(folder)
    assert after.history("first").records
    assert after.history("third").records


pieces = st.sampled_from(
    [
        *[as_line(OLD), b"\r\n", b"\n", b"\0" * 5000, b"\xff\xfe", b"\xef\xbb\xbf", b"[1]\n", b"{"],
        *[
            b'{"id":"s",',
            b'"error":',
            b'"row":{}',
            b'"methods":{}',
            b',"v":2}',
            b"}\n",
            b"[" * 99_999,
        ],
        b'{"id":"\\ud800","error":"e"}\n',
    ]
)
numbers = st.integers() | st.floats() | st.booleans() | st.none()
jsons = st.recursive(
    numbers | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = ["id", "error", "row", "inputs", "methods", "key", "outputs", "scores", "facts", "direct"]
strange = st.recursive(
    jsons | st.sampled_from([OLD["inputs"], OLD["methods"], "s", ".", "a/../b", "\0", "\ud800"]),
    lambda inner: st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=5,
)


@given(
    content=st.lists(st.binary() | pieces | strange.map(as_line)).map(b"".join)
    | st.builds(OLD.__or__, st.dictionaries(st.sampled_from(NAMES), strange)).map(as_line)
)
@example(content=as_line({"id": "s", "error": "e", "row": {"id": "s", "of a later version": "1"}}))
@settings(max_examples=200)
def test_any_journal_is_read_and_takes_lines(tmp_path_factory, content):
    folder = tmp_path_factory.mktemp("any")
    journal(folder, content)
    with Ledger(folder) as ledger:
        before = dict(ledger)
        for stack_id, history in before.items():
            # What is read can be printed and looked up on any disk.
            (folder / stack_id).exists()
            print(stack_id.encode(), str(history.error).encode())
            for record in history.records.values():
                hash(record.inputs)
                why_not_done(record, KEY, folder.parent, folder.name)
        write_records(folder / "failed.csv", [row or {} for _, _, row in ledger.failed()])
        ledger.append_done("appended", {"direct": RECORD})
        assert ledger.history("appended").records["direct"] == RECORD
    after = dict(Ledger(folder))
    assert after.pop("appended").records["direct"] == RECORD
    before.pop("appended", None)
    assert repr(after) == repr(before)


@pytest.mark.parametrize(
    "damage",
    [
        {"id": 5},
        {"id": "../old"},
        {"id": ""},
        {"inputs": None},
        {"inputs": [["a", "1", 2, "d"]]},
        {"inputs": [["a", 1, 2]]},
        {"methods": []},
        {"methods": {"direct": None}},
        {"methods": {"direct": {"key": [], "outputs": {}}}},
        {"methods": {"direct": {"key": {}, "outputs": {"a": "5"}}}},
        {"methods": {"direct": {"key": {}, "outputs": {"a": [5, 6]}}}},
        {"methods": {"direct": {"key": {}, "outputs": {"../a": 5}}}},
        {"methods": {"direct": {"key": {}, "outputs": {"a": 5}, "scores": [1]}}},
        {"error": 5},
    ],
    ids=str,
)
def test_a_line_of_wrong_types_is_passed_over(tmp_path, damage):
    journal(tmp_path, as_line(OLD) + as_line(OLD | damage))
    assert dict(Ledger(tmp_path)) == {"old": Ledger(tmp_path).history("old")}
    assert Ledger(tmp_path).history("old").records["direct"].outputs == {"fused.png": Written(5)}


def test_only_the_bad_part_of_a_line_is_passed_over(tmp_path):
    methods = OLD["methods"] | {"guided": {"key": KEY, "outputs": 5}}
    journal(tmp_path, as_line(OLD | {"methods": methods, "facts": [1]}))
    history = Ledger(tmp_path).history("old")
    assert set(history.records) == {"direct"}
    assert history.facts == {}


@pytest.mark.parametrize("end", [b"\0" * 4096, b"\xff\xfe\n", b"\r\n", b'{"id":"x","v":2}'])
def test_what_a_power_cut_or_an_editor_leaves_costs_no_other_line(tmp_path, end):
    content = as_line(OLD).replace(b"\n", b"\r\n") + end
    journal(tmp_path, content)
    with Ledger(tmp_path) as ledger:
        assert set(dict(ledger)) == {"old"}
        ledger.append_failed("s", "e")
    assert set(dict(Ledger(tmp_path))) == {"old", "s"}


def test_a_line_without_end_is_passed_over_in_little_memory(tmp_path):
    path = journal(tmp_path, as_line(OLD))
    with path.open("ab") as file:
        for _ in range(96):
            file.write(b"[" * 2**20)
        file.write(as_line(OLD | {"id": "inside"}) + as_line(OLD | {"id": "next"}))
    tracemalloc.start()
    try:
        ledger = Ledger(tmp_path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert set(dict(ledger)) == {"old", "next"}
    assert peak < 50 * 2**20


# --- journals and the system


class Refusing(files.System):
    """A file system of which one call fails on the journal."""

    def __init__(self, code, *, modes="", full=False):
        self.code, self.modes, self.full = code, modes, full

    def open(self, path, mode):
        if path.name == JOURNAL and any(letter in mode for letter in self.modes):
            raise OSError(self.code, os.strerror(self.code), str(path))
        file = super().open(path, mode)
        return Full(file, self.code) if self.full and "a" in mode else file


class Full:
    """A file on a disk that takes only half of what is written."""

    def __init__(self, file, code):
        self.file, self.code = file, code

    def __getattr__(self, name):
        return getattr(self.file, name)

    def write(self, data):
        self.file.write(data[: len(data) // 2])

    def flush(self):
        self.file.flush()
        raise OSError(self.code, os.strerror(self.code))


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO])
def test_a_journal_that_cannot_be_read_is_named(tmp_path, monkeypatch, code):
    path = journal(tmp_path, as_line(OLD))
    monkeypatch.setattr(files.calls, "system", Refusing(code, modes="r"))
    with pytest.raises(FileError, match=f"^{path}: cannot be read: {os.strerror(code)}"):
        Ledger(tmp_path)


def test_a_folder_in_the_place_of_the_journal_is_named(tmp_path):
    (tmp_path / FOLDER / JOURNAL).mkdir(parents=True)
    with pytest.raises(FileError, match=f"{JOURNAL}: cannot be read: Is a directory"):
        existing_ledger(tmp_path)


def test_a_journal_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    path = journal(tmp_path, as_line(OLD))
    monkeypatch.setattr(files.calls, "system", Refusing(errno.EACCES, modes="a"))
    with Ledger(tmp_path) as ledger, pytest.raises(FileError, match=f"^{path}: cannot be written"):
        ledger.append_failed("s", "e")


def test_a_line_torn_by_a_full_disk_costs_no_other(tmp_path, monkeypatch):
    with Ledger(tmp_path) as ledger:
        ledger.append_done("first", {"direct": RECORD})
        ledger.close()
        with monkeypatch.context() as patch:
            patch.setattr(files.calls, "system", Refusing(errno.ENOSPC, full=True))
            with pytest.raises(FileError, match="No space left on device; make room"):
                ledger.append_done("torn", {"direct": RECORD})
        ledger.append_done("third", {"direct": RECORD})
        assert list(ledger.ids()) == ["first", "third"]
        assert ledger.history("third").records
    assert journal(tmp_path).read_bytes().count(b"\n") == 3
    assert dict(Ledger(tmp_path)).keys() == {"first", "third"}


def test_lines_are_there_at_once_and_on_the_disk_after_sync(tmp_path, monkeypatch):
    synced = []

    class Watching(files.System):
        def sync(self, file):
            synced.append(Path(file.name).read_bytes())
            super().sync(file)

    monkeypatch.setattr(files.calls, "system", Watching())
    with Ledger(tmp_path) as ledger:
        ledger.sync()
        for number in range(5):
            ledger.append_done(f"{number}", {"direct": RECORD})
            assert f"{number}" in Ledger(tmp_path).ids()
        assert not synced
        ledger.sync()
        ledger.sync()
    assert synced == [journal(tmp_path).read_bytes()]


def test_reading_leaves_no_trace(tmp_path):
    with Ledger(tmp_path / "none") as ledger:
        assert not list(ledger)
        assert ledger.history("s").records == {}
        ledger.sync()
    assert not list(tmp_path.iterdir())
    with pytest.raises(OptionError, match="no run has written here"):
        existing_ledger(tmp_path)


def test_a_ledger_takes_little_memory_for_each_stack(tmp_path):
    count, methods = 20_000, [f"method {number}" for number in range(8)]
    with Ledger(tmp_path) as ledger:
        ledger.append_done("NAME", dict.fromkeys(methods, RECORD), {"seconds": 1})
    line = journal(tmp_path).read_bytes()
    ids = [f"slide_{number:06}/stack_{number:06}" for number in range(count)]
    journal(tmp_path, b"".join(line.replace(b"NAME", stack.encode()) for stack in ids))
    tracemalloc.start()
    try:
        ledger = Ledger(tmp_path)
        some = [len(history.records) for _, history in islice(ledger, 500)]
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(ledger.ids()) == count
    assert some == [len(methods)] * 500
    assert peak < count * 400


def test_only_one_run_at_a_time(tmp_path):
    with claim(tmp_path), pytest.raises(OutputInUseError, match=str(tmp_path)), claim(tmp_path):
        raise AssertionError
    with claim(Path(tmp_path)):
        pass
