"""Outputs compared with their records: what differs is named, and nothing else."""

import json
import os
import tracemalloc
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchstack.batch.claim import FOLDER
from batchstack.batch.jobs import Input
from batchstack.batch.ledger import JOURNAL, Ledger
from batchstack.batch.records import Record
from batchstack.batch.verify import choose, recorded_outputs, subset, verify
from batchstack.images import Written, write_image
from batchstack.images.read import checksum

INPUTS = (Input("a", 1, 2, "d"),)


@pytest.fixture
def out(tmp_path):
    """An output directory of 12 outputs in three stacks, of several kinds."""
    folder = tmp_path / "out"
    pixels = np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8)
    with Ledger(folder) as ledger:
        for stack in ("one", "slide/two", "three"):
            names = ("fused.jpg", "fused.png", "fused.tif", "mask.png")
            for name in names:
                write_image(folder / stack / name, pixels)
            ledger.append_done(stack, records(folder / stack, *names))
    return folder


def records(folder, *names, digests=True):
    """A method for each file, as it is now."""
    return {
        f"method of {name}": Record({}, INPUTS, {name: output(folder / name, digests)})
        for name in names
    }


def output(path, has_digest=True):
    with path.open("rb") as file:
        return Written(path.stat().st_size, checksum(file) if has_digest else None)


def differences(folder, read="all"):
    with Ledger(folder) as ledger:
        total = sum(1 for _ in recorded_outputs(ledger))
        found = verify(ledger, folder, total, subset(read)(total))
        return {
            str(one.path.relative_to(folder)): one.difference for one in found if one.difference
        }


def flip(path, place=-20):
    data = bytearray(path.read_bytes())
    data[place] ^= 0x55
    path.write_bytes(data)


def test_what_is_as_recorded_does_not_differ(out):
    assert differences(out) == {}


def test_missing_and_shortened_outputs_are_found_without_reading(out):
    (out / "one/fused.jpg").unlink()
    whole = (out / "slide/two/fused.tif").read_bytes()
    (out / "slide/two/fused.tif").write_bytes(whole[:-1])
    (out / "three/mask.png").unlink()
    (out / "three/mask.png").mkdir()
    assert differences(out, read="1") == {
        "one/fused.jpg": "is missing",
        "slide/two/fused.tif": f"has {len(whole) - 1} bytes instead of {len(whole)}",
        "three/mask.png": "is not a file",
    }


@pytest.mark.parametrize("name", ["fused.jpg", "fused.png", "fused.tif"])
def test_other_content_of_the_same_size_is_found(out, name):
    flip(out / "one" / name)
    assert differences(out) == {f"one/{name}": "has other content than was written"}


def test_other_pixels_in_a_whole_file_are_found(out):
    path = out / "one/fused.tif"
    size = path.stat().st_size
    write_image(path, np.random.default_rng(1).integers(0, 255, (40, 60, 3), np.uint8))
    os.truncate(path, size)
    assert differences(out) == {"one/fused.tif": "has other content than was written"}


@pytest.mark.parametrize("name", ["fused.jpg", "fused.png", "fused.tif"])
def test_without_a_digest_what_cannot_be_decoded_is_found(out, name):
    path = out / "one" / name
    with Ledger(out) as ledger:
        ledger.append_done("one", records(out / "one", name, digests=False))
    assert differences(out) == {}
    # Uncompressed pixels of a TIFF have nothing that tells damage, its header has.
    kept = 40 if name == "fused.tif" else path.stat().st_size // 2
    path.write_bytes(path.read_bytes()[:kept] + bytes(path.stat().st_size - kept))
    ((found, difference),) = differences(out).items()
    assert found == f"one/{name}"
    assert difference
    assert str(path) not in difference


def test_what_was_recorded_damaged_is_found(out):
    path = out / "one/fused.png"
    flip(path)
    with Ledger(out) as ledger:
        ledger.append_done("one", records(out / "one", "fused.png"))
    assert set(differences(out)) == {"one/fused.png"}


def test_the_last_record_counts(out):
    pixels = np.zeros((40, 60), np.uint8)
    write_image(out / "one/fused.png", pixels)
    assert set(differences(out)) == {"one/fused.png"}
    with Ledger(out) as ledger:
        ledger.append_done("one", records(out / "one", "fused.png"))
    assert differences(out) == {}
    # Another format takes the place of an output, whose file is then nobody's.
    known = Record({}, INPUTS, {"mask.tif": output(out / "one/fused.tif")})
    (out / "one/fused.tif").rename(out / "one/mask.tif")
    with Ledger(out) as ledger:
        ledger.append_done("one", {"method of mask.png": known, "method of fused.tif": known})
    flip(out / "one/mask.png")
    assert differences(out) == {}


def test_a_tiff_is_decoded_in_little_memory(tmp_path):
    pixels = np.zeros((6000, 2000), np.float32)
    pixels[::7, ::3] = 1
    write_image(tmp_path / "s/a.tif", pixels)
    with Ledger(tmp_path) as ledger:
        ledger.append_done("s", records(tmp_path / "s", "a.tif"))
    tracemalloc.start()
    try:
        assert differences(tmp_path) == {}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < pixels.nbytes / 2


# --- which outputs are read


@given(total=st.integers(0, 300), share=st.floats(0, 1))
def test_exactly_as_many_are_chosen_as_asked_for(total, share):
    count = round(share * total)
    chosen = list(choose(count, total))
    assert len(chosen) == total
    assert sum(chosen) == count


def test_each_is_chosen_as_often_as_any_other():
    times = Counter()
    for _ in range(4000):
        times.update(place for place, chosen in enumerate(choose(3, 12)) if chosen)
    # 1000 are expected of each; 6 standard deviations of the binomial are 164.
    assert all(abs(times[place] - 1000) < 164 for place in range(12))


@pytest.mark.parametrize(
    ("text", "count"),
    [("all", 250), ("5%", 13), ("100%", 250), ("0.001%", 1), ("1", 1), ("900", 250)],
)
def test_subsets(text, count):
    assert subset(text)(250) == count


@pytest.mark.parametrize("text", ["", "%", "0", "-1", "0%", "101%", "nan%", "half", "1.5"])
def test_no_subsets(text):
    with pytest.raises(ValueError):
        subset(text)


# --- the command


def test_the_command_names_differences_and_counts(workspace, out):
    said = workspace.run("verify", "out")
    assert said.stdout == ""
    assert said.stderr == "batchstack: 12 outputs recorded, 12 of them read; 0 differ\n"
    flip(out / "slide/two/fused.png")
    (out / "three/fused.jpg").unlink()
    said = workspace.run("verify", "out", code=1)
    assert said.stdout.splitlines() == [
        "out/slide/two/fused.png: has other content than was written",
        "out/three/fused.jpg: is missing",
    ]
    counts, remedy = said.stderr.splitlines()
    assert counts == "batchstack: 12 outputs recorded, 11 of them read; 2 differ"
    assert "when they are removed" in remedy
    said = workspace.run("verify", "out", "--json", code=1).stdout
    assert list(map(json.loads, said.splitlines())) == [
        {
            "id": "slide/two",
            "path": "out/slide/two/fused.png",
            "difference": "has other content than was written",
        },
        {"id": "three", "path": "out/three/fused.jpg", "difference": "is missing"},
    ]
    (out / "three/mask.png").unlink()
    assert "3 differ" in workspace.run("verify", "out", code=1).stderr


def test_the_command_reads_a_part(workspace, out):
    with Ledger(out) as ledger:
        ledger.append_done("one", records(out / "one", "fused.png", "mask.png", digests=False))
    said = workspace.run("verify", "out", "--read-subset", "all").stderr
    assert "12 outputs recorded, 12 of them read (2 without a recorded digest); 0 differ" in said
    for part, count in (("50%", 6), ("1%", 1), ("5", 5)):
        said = workspace.run("verify", "out", "--read-subset", part).stderr
        assert f"12 outputs recorded, {count} of them read" in said
    said = workspace.run("verify", "out", "--read-subset", "some", code=2).stderr
    assert "give all, a share like 5% or a number" in said


def test_the_command_refuses_a_folder_without_records(workspace):
    assert "no run has written here" in workspace.run("verify", ".", code=2).stderr


def test_the_command_writes_nothing(workspace, out):
    def state():
        return {path: path.stat().st_mtime_ns for path in sorted(out.rglob("*"))}

    flip(out / "one/fused.tif")
    before = state()
    workspace.run("verify", "out", code=1)
    assert state() == before
    assert [path.name for path in (out / FOLDER).iterdir()] == [JOURNAL]
