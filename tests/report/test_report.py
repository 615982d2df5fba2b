"""The report as files: what it says, what it leads to, what it keeps."""

import csv
import os
import signal
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from urllib.parse import unquote

import dask
import pytest

from batchstack.batch import previews
from batchstack.batch.claim import FOLDER, claim
from batchstack.batch.graph import split_graph
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.manifest_rows import MULTIQC, REPORT
from batchstack.batch.plan import make_plan
from batchstack.batch.previews import folder_name, kept_in, stack_folder
from batchstack.batch.records import Record
from batchstack.batch.tasks import do_stack
from batchstack.images import read_image, read_preview, write_image
from batchstack.options import FusionOptions, RunOptions
from batchstack.report.write import write_report
from tests.processes import wait_for
from tests.report.conftest import BEST, HANDLER, SCRIPT
from tests.report.pages import folder_of, listed, page_of, pages
from tests.scenes import stack

MAPS = ("depth_map.png", "depth_confidence.png")
ALL = ("focus_stacked_bayesian.png", *MAPS)


def test_a_run_leaves_a_report_whose_links_lead_to_files(workspace):
    bad = [workspace.stack("a")[0], workspace.stack("b", shape=(9, 9))[1]]
    stacks = {"moss ü%41": workspace.stack("s #1"), "bad": bad}
    workspace.manifest(stacks, columns=[("meta_eye", ["left <b>", "right"])])
    options = ("--methods", "bayesian,depth_map", "--workers", 0, "--score")
    said = workspace.run("run", "pairs.csv", "-o", "out", *options, code=1).stderr
    top = workspace.root / "out"
    assert f"report: {top.name}/report.html" in said or f"report: {top}/report.html" in said
    found = pages(top)
    assert len(found) == 3
    for page in found:
        targets = list(page.targets)
        assert targets and all(target.exists() for target in targets), page.path
    text = page_of(top, "moss ü%41").text
    for said in (
        "left <b>",
        "Qsharp",
        "focus_stacked_bayesian",
        "numpy",
        "focus-sigma",
        "identity",
    ):
        assert said in text
    assert "give frames of one size" in page_of(top, "bad").text
    assert "right" in page_of(top, "bad").text
    assert "give frames of one size" in found[0].text


def test_stacks_are_ranked_by_their_recommended_output(outputs):
    bayesian, direct = "focus_stacked_bayesian", "focus_stacked_direct"
    names = (f"{bayesian}.png", f"{direct}.png")
    outputs.fused("old", names, {bayesian: {"Qabf": 0.1}})
    outputs.fused("good", names, {direct: {"Qsharp": 0.2}, bayesian: {"Qsharp": 0.9}})
    outputs.fused("poor", names, {direct: {"Qsharp": 0.8}, bayesian: {"Qsharp": 0.5}})
    outputs.report()
    stacks = listed(outputs.top)
    assert [(stack["id"], stack["quality"], stack["measure"]) for stack in stacks] == [
        ("poor", 0.5, "Qsharp"),
        ("good", 0.9, "Qsharp"),
        ("old", 0.1, "Qabf"),
    ]
    assert {stack["output"] for stack in stacks} == {bayesian}


def test_failures_come_first_then_what_is_missing_then_the_worst(outputs):
    outputs.fused("good", scores={"focus_stacked_bayesian": {"Qabf": 0.9}})
    outputs.fused("poor", scores={"focus_stacked_bayesian": {"Qabf": 0.2}})
    outputs.fused("unscored", ALL)
    outputs.fused("gone", scores={"focus_stacked_bayesian": {"Qabf": 0.95}})
    outputs.failed("broken", "m.csv:3 broken: is damaged")
    (outputs.top / "gone" / "focus_stacked_bayesian.png").unlink()
    outputs.report()
    stacks = listed(outputs.top)
    assert [stack["id"] for stack in stacks] == ["broken", "gone", "poor", "good", "unscored"]
    assert [stack["status"] for stack in stacks] == ["failed", "missing", "fused", "fused", "fused"]
    assert stacks[1]["text"] == "missing or shortened: focus_stacked_bayesian.png"
    assert 0 <= stacks[4]["confidence"] <= 1 and stacks[3]["confidence"] is None


def test_a_stack_without_its_damaged_frames_is_worth_a_look(outputs):
    gone = [{"frame": 2, "path": "b.jpg", "why": "is damaged"}]
    outputs.fused("whole")
    outputs.fused("without", left_out=gone)
    outputs.report()
    states = {stack["id"]: stack["status"] for stack in listed(outputs.top)}
    assert states == {"whole": "fused", "without": "look"}


def test_nothing_of_names_or_metadata_becomes_a_tag(hostile):
    known = {"report.css", "stacks.js", "index.js", "order.js", "stack.js"}
    for page in pages(hostile.top):
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")]
            if tag == "script":
                assert attributes.get("src", "").rpartition("/")[2] in known
            assert attributes.get("src") != "x"
        policies = [a["content"] for _, a in page.tags if "http-equiv" in a]
        assert policies and "default-src 'none'" in policies[0] and "unsafe" not in policies[0]
    page = page_of(hostile.top, f"a{HANDLER}")
    assert SCRIPT in page.text and HANDLER in page.text


def test_pages_ask_for_nothing_outside(outputs):
    outputs.fused("s", ALL)
    outputs.report()
    for page in pages(outputs.top):
        assert not [address for address in page.addresses if address.startswith(("http", "//"))]
    folder = outputs.top / FOLDER / "report"
    for name in ("report.css", "index.js", "stack.js"):
        text = (folder / name).read_text()
        assert "http" not in text and "@import" not in text and "import(" not in text


@pytest.mark.xdist_group("report of 5000 stacks")
def test_the_page_of_5000_stacks_is_small_and_its_list_is_data(many):
    assert (many.top / "report.html").stat().st_size < 40_000  # failures are shown up to a number
    stacks = listed(many.top)
    assert [stack["status"] for stack in stacks[:501]] == ["failed"] * 500 + ["missing"]
    pages = {path.parent.name for path in (many.top / FOLDER / "report").glob("*/index.html")}
    assert {stack["page"] for stack in stacks} == pages and len(pages) == 5000
    size = (many.top / FOLDER / "report" / "stacks.js").stat().st_size
    assert size < 5000 * 400


def marks(folder):
    """When the pictures and the page in a folder were written."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_what_is_unchanged_is_kept(outputs):
    outputs.fused("one", ALL)
    outputs.fused("two")
    outputs.report()
    one, two = (folder_of(outputs.top, name) for name in ("one", "two"))
    before = marks(one), marks(two)
    assert {"frame-1.jpg", "depth_map.jpg", "thumb.jpg", "index.html"} <= before[0].keys()
    outputs.report()
    assert (marks(one), marks(two)) == before
    outputs.fused("two", seconds=3.0)
    outputs.report()
    after = marks(two)
    changed = {name for name in after if after[name] != before[1][name]}
    assert changed == {"index.html", "kept.json"}
    assert marks(one) == before[0]


def test_a_changed_output_has_a_new_preview_and_an_output_less_has_none(outputs):
    outputs.fused("s", ALL)
    outputs.report()
    folder = folder_of(outputs.top, "s")
    before = marks(folder)
    outputs.fused("s", ("focus_stacked_bayesian.jpg",))
    outputs.report()
    after = marks(folder)
    assert before.keys() - after.keys() == {"depth_map.jpg", "depth_confidence.jpg"}
    assert after["focus_stacked_bayesian.jpg"] != before["focus_stacked_bayesian.jpg"]
    assert after["frame-1.jpg"] == before["frame-1.jpg"]


@pytest.mark.parametrize("damage", [b"", b"{}", b'{"previews":[[1]],"page":1}', b"\xff"])
def test_what_was_kept_may_be_damaged(outputs, damage):
    outputs.fused("s")
    outputs.report()
    folder = folder_of(outputs.top, "s")
    (folder / "kept.json").write_bytes(damage)
    (folder / "thumb.jpg").unlink()
    outputs.report()
    assert (folder / "thumb.jpg").exists()
    assert all(target.exists() for target in page_of(outputs.top, "s").targets)


def test_previews_outlive_frames_that_are_gone(outputs):
    frames = outputs.fused("s")
    outputs.report()
    Path(frames[0].path).unlink()
    outputs.report()
    page = page_of(outputs.top, "s")
    assert (page.path.parent / "frame-1.jpg").exists()
    assert all(target.exists() for target in page.targets)
    assert "not there" in page.text


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_small_files_that_browsers_show_are_shown_themselves(outputs, suffix):
    names = [f"{Path(name).stem}.{suffix}" for name in ALL]
    frames = outputs.fused("s", names, shape=(40, 60))
    outputs.report()
    page = page_of(outputs.top, "s")
    files = {path.name for path in page.path.parent.iterdir()}
    assert files == {"index.html", "kept.json", "thumb.jpg"}
    shown = {
        (page.path.parent / unquote(attributes["src"])).resolve()
        for tag, attributes in page.tags
        if tag == "img"
    }
    assert shown == {Path(f.path) for f in frames} | {outputs.top / "s" / name for name in names}
    (line,) = listed(outputs.top)
    confidence = read_image(outputs.top / "s" / names[2]).mean() / 255
    assert line["confidence"] == pytest.approx(confidence, abs=0.01)
    before = marks(page.path.parent)
    outputs.report()
    assert marks(page.path.parent) == before


def test_small_files_that_browsers_do_not_show_have_previews(outputs):
    outputs.fused("s", ("focus_stacked_bayesian.tif",), shape=(40, 60))
    outputs.report()
    folder = folder_of(outputs.top, "s")
    assert read_image(folder / "focus_stacked_bayesian.jpg").shape[:2] == (40, 60)
    assert not (folder / "frame-1.jpg").exists()


def test_a_small_file_that_is_gone_is_not_shown(outputs):
    frames = outputs.fused("s", shape=(40, 60))
    outputs.report()
    Path(frames[0].path).unlink()
    outputs.report()
    page = page_of(outputs.top, "s")
    assert all(target.exists() for target in page.targets)
    assert "not there" in page.text


def halve(path):
    """Cut a file in the middle; its headers stay."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def scramble(path):
    """Damage the pixels of a file whose headers, and size, stay."""
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))


@pytest.mark.parametrize("damage", [halve, scramble])
@pytest.mark.parametrize("again", [False, True])
def test_small_files_that_are_damaged_cost_their_pictures_alone(outputs, damage, again):
    frames = outputs.fused("s", ALL, shape=(40, 60))
    outputs.fused("t", ALL, shape=(40, 60))
    if again:
        outputs.report()
        outputs.fused("s", ALL, shape=(40, 60), seconds=3.0)
        (folder_of(outputs.top, "s") / "thumb.jpg").unlink()
    damage(Path(frames[0].path))
    for name in ALL[:2]:
        damage(outputs.top / "s" / name)
    outputs.report()
    assert {line["id"] for line in listed(outputs.top)} == {"s", "t"}
    assert read_preview(folder_of(outputs.top, "s") / "thumb.jpg", 60).any()  # of the other frame
    assert all(target.exists() for target in page_of(outputs.top, "s").targets)


def test_a_pipe_in_place_of_a_file_is_not_waited_for(workspace, outputs):
    frames = outputs.fused("s", ALL, shape=(40, 60))
    outputs.fused("large", ALL)
    outputs.report()
    for path in (Path(frames[0].path), outputs.top / "s" / BEST, outputs.top / "large" / BEST):
        path.unlink()
        os.mkfifo(path)
    workspace.run("report", "out")
    (folder_of(outputs.top, "s") / "kept.json").unlink()
    workspace.run("report", "out")


# --- previews that tasks leave


class Tasks:
    """A stack that tasks do for a run whose report is not written.

    Parameters
    ----------
    workspace : Workspace
    """

    def __init__(self, workspace, paths, **options):
        self.workspace, self.top = workspace, workspace.root / "out"
        manifest = load_manifest(workspace.manifest({"s": paths}))
        options = RunOptions(methods=("bayesian", "depth_map"), **options)
        (self.step,) = make_plan(manifest, self.top, options, Ledger(self.top))

    def do(self, do=do_stack, **changes):
        """The result of tasks, and the folder of previews."""
        with claim(self.top) as held:
            job = replace(self.step.job, claim=held, previews=True, **changes)
            result = do(job)
            return result, stack_folder(job)


def whole(job):
    return do_stack(job)


def staged(job):
    return do_stack(replace(job, hold=False))


def split(job):
    graph = split_graph(replace(job, tile=128), job.name, (200, 900))
    return dask.compute(graph, scheduler="sync")[0]


@pytest.mark.parametrize("do", [whole, staged, split])
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_tasks_leave_the_previews_that_a_report_would_make(workspace, do, suffix):
    frames = workspace.stack("f", shape=(200, 900), suffix=suffix)
    tasks = Tasks(workspace, frames)
    result, folder = tasks.do(do)
    assert result.error is None
    kept = kept_in(folder).previews
    names = {"frame-1.jpg", "frame-2.jpg", "thumb.jpg", "focus_stacked_bayesian.jpg"}
    assert kept.keys() == names | {"depth_map.jpg", "depth_confidence.jpg"}
    assert {path.name for path in folder.iterdir()} == {*kept, "kept.json"}
    with Ledger(tasks.top) as ledger:
        outputs = {result.job.output_path(name).name: w for name, w in result.outputs.items()}
        ledger.append_done("s", {"bayesian": Record({}, result.inputs, outputs)}, {})
        before = marks(folder)
        write_report(ledger, tasks.top)
    after = marks(folder)
    assert {name: after[name] for name in kept} == {name: before[name] for name in kept}
    assert kept_in(folder).previews == kept
    shapes = {name: read_image(folder / name).shape for name in kept}
    made = {name: read_preview(folder / name, 64) for name in kept}  # they are resized otherwise
    for name in kept:
        (folder / name).unlink()
    with Ledger(tasks.top) as ledger:
        write_report(ledger, tasks.top)
    for name in kept:
        assert read_image(folder / name).shape == shapes[name]
        again = read_preview(folder / name, 64).astype(float)
        assert abs(again - made[name]).mean() < 4, name
    confidence = read_image(tasks.top / "s" / f"depth_confidence{suffix}").mean() / 255
    assert kept["depth_confidence.jpg"].mean == pytest.approx(confidence, abs=0.02)


def coded(workspace, name, shape, dtype, suffix=".tif"):
    """The frames of a stack whose white is 4095 in 16 bits or floats, and paths of theirs."""
    frames = [frame >> 4 for frame in stack(shape, 2, dtype="uint16")]
    paths = [f"frames/{name}{index}{suffix}" for index in range(len(frames))]
    for path, frame in zip(paths, frames, strict=True):
        write_image(workspace.root / path, frame.astype(dtype))
    return frames, paths


@pytest.mark.parametrize("do", [whole, staged, split])
@pytest.mark.parametrize(("dtype", "given"), [("uint16", None), ("float32", None), ("uint16", 8e3)])
def test_previews_of_code_values_are_as_bright_as_their_white_says(workspace, do, dtype, given):
    frames, paths = coded(workspace, "f", (200, 900), dtype)
    tasks = Tasks(workspace, paths, fusion=FusionOptions(data_range=given))
    result, folder = tasks.do(do)
    expected = [frame.mean() * 255 / (given or 4095) for frame in frames]
    fused = read_image(result.job.output_path(BEST.removesuffix(".png"))).mean() * 255
    expected.append(fused / (given or 4095))
    names = ("frame-1.jpg", "frame-2.jpg", "focus_stacked_bayesian.jpg")
    for name, mean in zip(names, expected, strict=True):
        assert read_image(folder / name).mean() == pytest.approx(mean, abs=2), name
    depth = read_image(result.job.output_path("depth_map")).mean() / 257
    assert read_image(folder / "depth_map.jpg").mean() == pytest.approx(depth, abs=2)
    # The report makes the same of the files alone.
    key = {"data_range": given}
    outputs = {result.job.output_path(name).name: w for name, w in result.outputs.items()}
    with Ledger(tasks.top) as ledger:
        ledger.append_done("s", {"bayesian": Record(key, result.inputs, outputs)}, {})
        for name in (*names, "depth_map.jpg"):
            (folder / name).unlink()
        write_report(ledger, tasks.top)
    for name, mean in zip((*names, "depth_map.jpg"), (*expected, depth), strict=True):
        assert read_image(folder / name).mean() == pytest.approx(mean, abs=2), name


def test_small_files_that_browsers_would_show_dark_have_previews(workspace):
    frames, paths = coded(workspace, "f", (40, 60), "uint16", ".png")
    tasks = Tasks(workspace, paths)
    result, folder = tasks.do()
    names = ["frame-1.jpg", "frame-2.jpg", "focus_stacked_bayesian.jpg"]
    outputs = {result.job.output_path(name).name: w for name, w in result.outputs.items()}
    for _ in range(2):
        assert {path.name for path in folder.iterdir()} >= {*names}
        assert not (folder / "depth_map.jpg").exists()
        assert read_image(folder / names[0]).mean() == pytest.approx(frames[0].mean() / 16, abs=3)
        for name in names:
            (folder / name).unlink()
        with Ledger(tasks.top) as ledger:
            ledger.append_done("s", {"bayesian": Record({}, result.inputs, outputs)}, {})
            write_report(ledger, tasks.top)


def test_small_frames_and_outputs_get_no_previews_from_tasks(workspace):
    _, folder = Tasks(workspace, workspace.stack("f")).do()
    kept = kept_in(folder).previews
    assert len(kept) == 6 and kept["depth_confidence.jpg"].mean is not None
    assert {path.name for path in folder.iterdir()} == {"kept.json", "thumb.jpg"}


@pytest.mark.parametrize("do", [whole, split])
def test_previews_that_cannot_be_written_fail_no_stack(workspace, do):
    tasks = Tasks(workspace, workspace.stack("f", shape=(200, 900)))
    (tasks.top / FOLDER).mkdir(parents=True)
    (tasks.top / FOLDER / "report").write_text("a file where a folder should be")
    result, _ = tasks.do(do)
    assert result.error is None and result.unfit is None and len(result.outputs) == 3


def test_a_task_leaves_no_previews_where_another_run_has_taken_the_directory(
    workspace, monkeypatch
):
    def taken(job, pictures):
        (job.held.directory / FOLDER / "run").write_text("another")
        return publish(job, pictures)

    publish = previews.publish
    monkeypatch.setattr(previews, "publish", taken)
    result, folder = Tasks(workspace, workspace.stack("f", shape=(200, 900))).do()
    assert result.error is None and pictures_of(folder) == []


def pictures_of(folder):
    return [path.name for path in folder.rglob("*")]


def test_a_run_without_a_report_leaves_no_previews(workspace):
    workspace.manifest({"s": workspace.stack("s", shape=(60, 800))})
    options = ("--methods", "direct", "--workers", 0)
    workspace.run("run", "pairs.csv", "-o", "out", *options, "--no-report")
    assert not (workspace.root / "out" / FOLDER / "report").exists()


def test_a_run_removes_what_killed_tasks_have_left_of_previews(workspace):
    workspace.manifest({"s": workspace.stack("s", shape=(60, 800))})
    folder = workspace.root / "out" / FOLDER / "report" / folder_name("s")
    folder.mkdir(parents=True)
    (folder / ".frame-1.jpg.batchstack-0123456789ab.part").write_text("half")
    workspace.run("run", "pairs.csv", "-o", "out", "--methods", "direct", "--workers", 0)
    assert not list(folder.glob(".*"))


def test_pages_of_stacks_that_are_gone_are_removed_and_nothing_else(outputs):
    outputs.fused("s")
    outputs.report()
    folder = folder_of(outputs.top, "s")
    mine = folder.parent / "my notes"
    mine.mkdir()
    (outputs.top / FOLDER / "journal.jsonl").write_bytes(b"")
    outputs.report()
    assert not folder.exists() and mine.exists()
    assert (outputs.top / "s" / "focus_stacked_bayesian.png").exists()


@pytest.mark.parametrize("name", ["report.html", "batchstack_mqc.tsv"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_strangers_file_is_not_replaced_and_the_run_does_not_fail(workspace, name, kind):
    workspace.manifest({"s": workspace.stack("s")})
    path = workspace.root / "out" / name
    path.mkdir(parents=True) if kind == "folder" else path.parent.mkdir()
    if kind == "file":
        path.write_text("mine")
    options = ("--methods", "direct", "--workers", 0)
    said = workspace.run("run", "pairs.csv", "-o", "out", *options).stderr
    assert f"{name}: is not what a report has left; rename or remove it" in said
    assert path.is_dir() or path.read_text() == "mine"
    assert "is not what a report" in workspace.run("report", "out", code=2).stderr


def test_a_run_may_do_without_a_report(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0, "--no-report")
    names = {path.name for path in (workspace.root / "out").iterdir()}
    assert names == {"s", FOLDER}
    said = workspace.run("report", "out")
    assert said.stdout.strip().endswith("out/report.html")


def test_a_report_that_cannot_be_written_does_not_fail_the_run(workspace):
    workspace.manifest({"s": workspace.stack("s")})
    folder = workspace.root / "out" / FOLDER
    folder.mkdir(parents=True)
    (folder / "report").write_text("a file where a folder should be")
    said = workspace.run("run", "pairs.csv", "-o", "out", "--workers", 0).stderr
    assert "the report was not written; the outputs are as they should be" in said


def test_a_run_interrupted_over_its_report_says_how_to_write_it(workspace):
    workspace.manifest({"s": workspace.stack("s", shape=(60, 800))})
    top = workspace.root / "out"
    top.mkdir()
    # Who looks whether it is a stranger's waits for what nobody writes.
    os.mkfifo(top / MULTIQC)
    options = ("--methods", "direct", "--workers", 0)
    process = workspace.start("run", "pairs.csv", "-o", "out", *options)
    writer = []

    def is_waiting():
        with suppress(OSError):  # while nobody reads
            writer.append(os.open(top / MULTIQC, os.O_WRONLY | os.O_NONBLOCK))
        return writer

    wait_for(is_waiting)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=60)
    os.close(writer[0])
    assert process.returncode == 130
    assert "its report was left out: batchstack report out writes it" in said
    assert "1 done, 0 skipped, 0 failed" in said and "Traceback" not in said
    (top / MULTIQC).unlink()
    assert not [path for path in top.rglob("*") if path.name.endswith(".part")]
    assert {path.name for path in top.iterdir()} == {"s", FOLDER}
    workspace.run("report", "out")
    assert (top / REPORT).exists()


def test_multiqc_gets_the_list_as_a_table(outputs):
    outputs.fused("s", scores={"focus_stacked_bayesian": {"Qabf": 0.25}}, cropped=1.5)
    outputs.failed("b\tc", "is damaged")
    outputs.report()
    lines = (outputs.top / "batchstack_mqc.tsv").read_text().splitlines()
    head = [line for line in lines if line.startswith("# ")]
    assert head[0] == "# id: batchstack" and "# plot_type: table" in head
    rows = list(csv.DictReader(lines[len(head) :], delimiter="\t"))
    assert [(row["Sample"], row["Status"], row["Quality"]) for row in rows] == [
        ("b c", "failed", ""),
        ("s", "fused", "0.25"),
    ]
    assert rows[1]["Cropped, %"] == "1.5" and rows[1]["Residual, px"] == ""


def test_no_run_no_report(workspace):
    (workspace.root / "empty").mkdir()
    said = workspace.run("report", "empty", code=2).stderr
    assert "no run has written here" in said


def test_a_run_removes_what_a_killed_report_has_left(workspace):
    top = workspace.root / "out"
    left = [top / f".{name}.batchstack-0123456789ab.part" for name in (REPORT, MULTIQC)]
    strange = top / f".{REPORT}.part"
    workspace.manifest({"s": workspace.stack("s")})
    top.mkdir()
    for path in [*left, strange]:
        path.write_text("half")
    workspace.run("run", "pairs.csv", "-o", "out", "--methods", "direct", "--workers", 0)
    assert strange.exists() and not any(path.exists() for path in left)


def test_a_report_removes_what_a_killed_one_has_left_and_nothing_else(outputs):
    outputs.fused("s")
    outputs.report()
    folder = folder_of(outputs.top, "s")
    end = "batchstack-0123456789ab.part"
    names = ["index.html", "kept.json", "thumb.jpg", "frame-12.jpg", "depth_map.jpg"]
    left = [folder / f".{name}.{end}" for name in names]
    left += [folder.parent / f".{name}.{end}" for name in ("stacks.js", "report.css")]
    strange = [folder / f".mine.{end}", folder.parent / f".mine.js.{end}"]
    for path in [*left, *strange]:
        path.write_text("half")
    outputs.fused("s", seconds=3.0)
    outputs.report()
    assert not [path for path in left if path.exists()]
    assert all(path.exists() for path in strange)


def test_a_report_leaves_the_previews_of_a_run_that_goes_on(outputs):
    outputs.fused("s")
    outputs.fused("late")
    outputs.report()
    late = folder_of(outputs.top, "late")
    journal = outputs.top / FOLDER / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole.splitlines(keepends=True)[0])
    with claim(outputs.top):
        outputs.report()
        assert late.exists()  # it is recorded last of all
    with outputs.ledger as before:
        journal.write_bytes(whole)
        write_report(before, outputs.top)
    assert late.exists()
    journal.write_bytes(whole.splitlines(keepends=True)[0])
    outputs.report()
    assert not late.exists()
