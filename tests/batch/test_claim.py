"""A run's claim on its output directory: who may write, and what is removed."""

from dataclasses import replace
from pathlib import Path

import pytest

from batchstack import files
from batchstack.batch.claim import FOLDER, claim, refuse_scratch
from batchstack.batch.engines import LoopEngine
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, make_plan
from batchstack.batch.run import Plan, run_plan
from batchstack.batch.tasks import do_stack
from batchstack.errors import OptionError, OutputInUseError, OutputLostError
from batchstack.fusion import METHODS

OPTIONS = RunOptions(methods=("direct",))


@pytest.fixture
def steps(workspace):
    workspace.manifest({"a": workspace.stack("a"), "b": workspace.stack("b")})
    manifest = load_manifest(workspace.root / "pairs.csv", known_methods=METHODS)
    out = workspace.root / "out"
    return make_plan(manifest, out, OPTIONS, Ledger(out))


def left(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_a_task_of_a_run_that_lost_its_directory_writes_nothing(steps, workspace):
    out = workspace.root / "out"
    with claim(out) as held:
        old = held
    result = do_stack(replace(steps[0].job, claim=old))
    assert "does not see" in result.unfit
    assert left(out) == {f"{FOLDER}/lock"}


def test_a_task_publishes_nothing_once_another_run_has_the_directory(steps, workspace, monkeypatch):
    """Between its start and its end the directory is taken: what is there stays."""
    out = workspace.root / "out"
    (out / "a").mkdir(parents=True)
    (out / "a" / "focus_stacked_direct.png").write_text("of the newer run")
    from batchstack.batch import tasks

    def taken(*arguments, **options):
        files.replace_file(out / FOLDER / "run", b"another")
        return real(*arguments, **options)

    real = tasks.fuse_image
    monkeypatch.setattr(tasks, "fuse_image", taken)
    with claim(out) as held:
        result = do_stack(replace(steps[0].job, claim=held))
        assert "another run has taken it" in result.unfit
        with pytest.raises(OutputLostError):
            held.check()
    assert (out / "a" / "focus_stacked_direct.png").read_text() == "of the newer run"
    # The token of the other run is not ours to remove.
    assert (out / FOLDER / "run").read_text() == "another"


def test_a_run_that_lost_its_directory_records_nothing(steps, workspace, monkeypatch):
    out = workspace.root / "out"

    class Thief(LoopEngine):
        def results(self, *arguments):
            for result in super().results(*arguments):
                files.replace_file(out / FOLDER / "run", b"another")
                yield result

    with Ledger(out) as ledger:
        with claim(out) as held, pytest.raises(OutputLostError, match="another run"):
            run_plan(Plan(steps), held, ledger, Thief())
        assert not ledger.ids()


def test_outputs_are_on_the_disk_before_they_are_recorded(steps, workspace, monkeypatch):
    """Data, name, folder, and only then the record, which is synced as well."""
    done = []

    class Watched(files.System):
        def sync(self, file):
            done.append(("data", Path(file.name).name.split(".")[1]))
            super().sync(file)

        def replace(self, source, target):
            done.append(("name", target.name.split(".")[0]))
            super().replace(source, target)

        def sync_folder(self, path):
            done.append(("folder", path.name))
            super().sync_folder(path)

    class Noted(Ledger):
        def append_done(self, stack_id, *arguments):
            done.append(("record", stack_id))
            super().append_done(stack_id, *arguments)

    out = workspace.root / "out"
    with claim(out) as held, Noted(out) as ledger:
        monkeypatch.setattr(files.calls, "system", Watched())
        run_plan(Plan(steps), held, ledger, LoopEngine())
    output = "focus_stacked_direct"
    for stack in ("a", "b"):
        start = done.index(("folder", stack)) - 3
        assert done[start : start + 5] == [
            ("folder", "out"),
            ("data", output),
            ("name", output),
            ("folder", stack),
            ("record", stack),
        ]
    # The journal itself, last of all.
    assert done[-2:] == [("data", "jsonl"), ("folder", FOLDER)]


def test_only_what_the_program_made_is_removed(steps, workspace):
    out, scratch = workspace.root / "out", workspace.root / "scratch"
    strangers = {
        "out/a/.mine.png.part": "a stranger's",
        "out/a/.focus_stacked_direct.png.0123456789ab.part": "of another program",
        "out/a/.notes.batchstack-0123456789ab.part": "no output of ours",
        "out/keep.txt": "kept",
        "scratch/s1/photo.jpg": "a photograph",
        "scratch/batchstack-scratch-other/owner": "/another/output",
    }
    for name, text in strangers.items():
        (workspace.root / name).parent.mkdir(parents=True, exist_ok=True)
        (workspace.root / name).write_text(text)
    ours = out / "a" / ".focus_stacked_direct.png.batchstack-0123456789ab.part"
    ours.write_text("left by a killed worker")
    killed = scratch / "batchstack-scratch-killed"
    (killed / "0-0").mkdir(parents=True)
    with claim(out, scratch) as left_by:
        (killed / "owner").write_bytes((left_by.scratch / "owner").read_bytes())
    with claim(out, scratch) as held, Ledger(out) as ledger:
        run_plan(Plan(steps), held, ledger, LoopEngine())
    for name, text in strangers.items():
        assert (workspace.root / name).read_text() == text
    assert not ours.exists()
    assert not killed.exists()
    assert not held.scratch.exists()


def test_runs_that_share_a_scratch_folder_do_not_share_what_is_in_it(workspace):
    scratch = workspace.root / "scratch"
    with (
        claim(workspace.root / "one", scratch) as one,
        claim(workspace.root / "two", scratch) as two,
    ):
        assert one.scratch != two.scratch
        assert one.scratch.exists() and two.scratch.exists()


def test_ids_inside_one_another_have_scratch_of_their_own(steps, workspace):
    with claim(workspace.root / "out") as held:
        jobs = [
            replace(steps[0].job, id=name, number=number, claim=held)
            for number, name in enumerate(("a", "a/b"))
        ]
    first, second = (job.scratch for job in jobs)
    assert first.parent == second.parent == held.scratch
    assert first != second


@pytest.mark.parametrize("scratch", ["out", "frames", "."])
def test_a_scratch_folder_in_which_people_keep_something_is_refused(workspace, scratch):
    frames = [workspace.root / path for path in workspace.stack("a")]
    with pytest.raises(OptionError, match="scratch is"):
        refuse_scratch(workspace.root / scratch, workspace.root / "out", frames)
    before = left(workspace.root)
    workspace.manifest({"a": ["frames/a_0.png", "frames/a_1.png"]})
    said = workspace.run("run", "pairs.csv", "-o", "out", "--scratch", scratch, code=2).stderr
    assert "scratch is" in said
    assert left(workspace.root) == before | {"pairs.csv"}


def test_a_folder_of_its_own_is_fine_for_scratch(workspace):
    frames = [workspace.root / path for path in workspace.stack("a")]
    refuse_scratch(workspace.root / "scratch", workspace.root / "out", frames)
    refuse_scratch(None, workspace.root / "out", frames)


def test_an_output_directory_that_cannot_be_written_is_refused(workspace):
    (workspace.root / "file").write_text("")
    for where in ("file", "file/out"):
        with pytest.raises(OutputInUseError, match="file"), claim(workspace.root / where):
            pass


def test_one_stack_leaves_outputs_and_nothing_else(workspace):
    back, front = workspace.stack("a")
    workspace.run("fuse", "--back", back, "--front", front, "-o", "one", "--methods", "direct")
    assert left(workspace.root / "one") == {"focus_stacked_direct.png"}
    assert [path.name for path in (workspace.root / "one").iterdir()] == [
        "focus_stacked_direct.png"
    ]
    # Nor what one that was killed has left.
    (workspace.root / "one" / ".batchstack").mkdir()
    (workspace.root / "one" / ".batchstack" / "lock").touch()
    workspace.run("fuse", "--back", back, "--front", front, "-o", "one", "--methods", "direct")
    assert not (workspace.root / "one" / ".batchstack").exists()
    with claim(workspace.root / "one"):
        said = workspace.run(
            "fuse", "--back", back, "--front", front, "-o", "one", "--methods", "direct", code=2
        ).stderr
        assert "another run" in said
