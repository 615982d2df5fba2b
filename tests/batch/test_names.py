"""Outputs named by a template: found by whoever looks for them, and never where others are."""

import json
import shutil
from types import SimpleNamespace

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import Manifest, Row
from batchstack.batch.output_names import has_own_folder, name_faults, place
from batchstack.batch.plan import make_plan
from batchstack.cli.main import cli
from batchstack.errors import BatchstackError, ManifestError, OptionError
from batchstack.fusion import METHODS
from batchstack.options import DEFAULT_NAME, OutputOptions, RunOptions
from tests.conftest import Workspace
from tests.report.pages import pages

FLAT, BY_OUTPUT, BY_NAME = "{id}_{output}", "{output}/{id}", "{name}_{output}"
OUTPUTS = [name for method in METHODS.values() for name in method.outputs]
ASKED = ("--methods", "bayesian,depth_map", "--workers", 0)
BEST = "focus_stacked_bayesian"


class InProcess(Workspace):
    """Commands without a process of their own, which take their time to start."""

    def run(self, *arguments, code=0):
        done = CliRunner().invoke(cli, list(map(str, arguments)))
        error = done.exception
        if isinstance(error, BatchstackError):  # which the program says on its way out
            assert error.exit_code == code, error
            return SimpleNamespace(stdout=done.stdout, stderr=str(error))
        assert done.exit_code == code, done.output
        return done


@pytest.fixture
def shoot(tmp_path, monkeypatch):
    """Two stacks, one with a folder in its id."""
    monkeypatch.chdir(tmp_path)
    shoot = InProcess(tmp_path)
    shoot.manifest({"one": shoot.stack("one"), "night/two": shoot.stack("two", seed=2)})
    return shoot


def run(shoot, folder, *options, code=0):
    return shoot.run("run", "pairs.csv", "-o", folder, *ASKED, *options, code=code).stderr


def test_the_last_parts_of_ids_make_one_flat_folder(shoot):
    run(shoot, "out", "--name", BY_NAME, "--no-report")
    found = {path.name for path in (shoot.root / "out").iterdir() if path.suffix == ".png"}
    outputs = (BEST, "depth_map", "depth_confidence")
    assert found == {f"{name}_{output}.png" for name in ("one", "two") for output in outputs}


@pytest.mark.parametrize("template", [FLAT, BY_OUTPUT, BY_NAME])
def test_all_who_look_for_outputs_find_them_under_their_names(shoot, template):
    run(shoot, "usual", "--no-report")
    usual = shoot.pixels("usual")
    said = run(shoot, "out", "--name", template)
    assert "2 done" in said
    named = template.replace("{", "<").replace("}", ">")
    assert f"out/{named}\n" in said
    expected = {
        place(template, name.rpartition("/")[0], name.rpartition("/")[2]): pixels
        for name, pixels in usual.items()
    }
    assert shoot.pixels("out") == expected
    assert not set(expected) & set(usual)
    assert "2 skipped" in run(shoot, "out", "--name", template)
    assert "2 to skip" in check(shoot, "-o", "out", "--name", template, *ASKED, code=0)
    assert "; 0 differ" in shoot.run("verify", "out").stderr
    shoot.run("status", "out")
    # The report links and shows the files where they are.
    top = shoot.root / "out"
    leads = {target.resolve() for page in pages(top) for target in page.targets}
    assert all(target.exists() for target in leads)
    assert {top / name for name in expected} <= leads

    gone = place(template, "one", f"{BEST}.png")
    (top / gone).unlink()
    (stack,) = (
        stack
        for line in shoot.run("status", "out", "--json", code=1).stdout.splitlines()
        if (stack := json.loads(line))["missing"]
    )
    assert (stack["id"], stack["missing"]) == ("one", [f"{BEST}.png"])
    assert f"{gone}: is missing" in shoot.run("verify", "out", code=1).stdout
    said = run(shoot, "out", "--name", template)
    assert "1 done, 1 skipped" in said
    assert shoot.pixels("out") == expected


@pytest.mark.parametrize(("before", "after"), [(FLAT, DEFAULT_NAME), (DEFAULT_NAME, FLAT)])
def test_a_directory_keeps_its_names(shoot, before, after):
    run(shoot, "out", "--name", before, "--no-report")
    outputs = shoot.outputs("out")
    said = run(shoot, "out", "--name", after, "--rerun", code=2)
    assert f"named its outputs by '{before}', not '{after}'; give --name '{before}'" in said
    assert "named its outputs by" in check(shoot, "-o", "out", "--name", after)
    assert shoot.outputs("out") == outputs


def test_a_file_of_options_names_outputs_and_a_row_does_not(shoot):
    (shoot.root / "b.toml").write_text(f'name = "{FLAT}"\nmethods = "direct"\n')
    shoot.run("run", "pairs.csv", "-o", "out", "--workers", 0, "--config", "b.toml")
    assert (shoot.root / "out/one_focus_stacked_direct.png").exists()
    rows = (shoot.root / "pairs.csv").read_text().splitlines()
    named = [f"{rows[0]},name", *(f"{row},{FLAT}" for row in rows[1:])]
    (shoot.root / "pairs.csv").write_text("\n".join(named))
    assert "pairs.csv:1:3" in check(shoot)


def check(shoot, *options, code=2):
    return shoot.run("check", "pairs.csv", *options, code=code).stderr


@pytest.mark.parametrize(
    "template",
    ["{id}", "{output}", "{name}", "{id}_{name}", "", "x",
     "/{id}_{output}", "../{id}_{output}", "{id}/../{output}",
     ".{id}_{output}", "{id}//{output}", "{id}_{output}/", "{id}\\{output}", "{id}_{output}_{x}",
     "{id!r}_{output}", "{id}_{output}_{", "{id}:{output}", "{id}\n{output}", "./{id}/{output}"],
)  # fmt: skip
def test_names_that_lead_elsewhere_or_tell_too_little_are_refused(template):
    with pytest.raises(
        OptionError, match=r"give a name below the output .* with \{id\} or \{name\} and"
    ):
        OutputOptions(name=template)


# --- stacks that would share a name


def faults(template, *ids):
    return dict(name_faults(template, ids))


@pytest.mark.parametrize(
    ("template", "ids", "fault"),
    [
        (FLAT, ("a", "b", "A"), "'A' would have 'a_focus_stacked_bayesian' where 'a' has"),
        (
            BY_NAME,
            ("a/x", "b", "c/x"),
            "'c/x' would have 'x_focus_stacked_bayesian' where 'a/x' has",
        ),
        (FLAT, ("e\u0301", "\u00e9"), "'é' would have"),
        (FLAT, ("a", "a_depth_map/x"), "'a_depth_map/x' would have 'a_depth_map' where 'a' has"),
        (FLAT, ("a_depth_map/x", "a"), "'a' would have 'a_depth_map' where 'a_depth_map/x' has"),
        ("{id}.csv/{output}", ("a", "Failed"), "is a file that the program writes"),
        ("{id}n/{output}", ("a", "co"), "'con' is a reserved name on Windows"),
        ("{id} /{output}", ("b",), "'b ' ends with a dot or a space"),
    ],
)
def test_what_cannot_stand_beside_others_is_named_with_the_reason(template, ids, fault):
    found = faults(template, *ids)
    assert list(found) == [len(ids) - 1]
    assert fault in found[len(ids) - 1]


PIECES = st.sampled_from(["a", "A", "b", "_", "/", "x/", "_depth_map", "depth_map", "/depth_map"])


@given(
    st.sampled_from(
        [
            FLAT,
            BY_OUTPUT,
            BY_NAME,
            "{name}/{output}",
            "{id}{output}",
            "{output}{id}",
            "{id}/{id}_{output}",
        ]
    ),
    st.lists(st.lists(PIECES, min_size=1, max_size=4).map("".join), min_size=1, max_size=4),
)
def test_without_a_fault_every_output_can_be_written_on_any_system(template, ids):
    """A plain comparison of all names agrees with the quick one."""
    ids = [one for one in dict.fromkeys(ids) if all(one.split("/"))]
    taken = [{place(template, one, output).lower() for output in OUTPUTS} for one in ids]
    folders = [
        {name.rsplit("/", n)[0] for name in names for n in range(1, name.count("/") + 1)}
        for names in taken
    ]
    bad = {
        index
        for index in range(len(ids))
        for other in range(index)
        if taken[index] & (taken[other] | folders[other]) or folders[index] & taken[other]
    }
    assert set(faults(template, *ids)) == bad


def test_folders_of_their_own_are_nobody_elses():
    assert [has_own_folder(name) for name in (DEFAULT_NAME, "x/{name}/y/{output}")] == [True, True]
    assert [has_own_folder(name) for name in (FLAT, BY_OUTPUT, "x/{id}_{output}")] == [False] * 3


def test_collisions_are_refused_with_row_and_remedy(shoot):
    stacks = {"one": shoot.stack("one"), "one_depth_map/x": shoot.stack("x")}
    shoot.manifest(stacks)
    said = check(shoot, "--name", FLAT)
    assert "pairs.csv:3 'one_depth_map/x' would have 'one_depth_map' where 'one' has" in said
    assert "change one of the ids, or give another --name than '{id}_{output}'" in said
    assert run(shoot, "out", "--name", FLAT, code=2)
    assert not shoot.outputs("out")
    check(shoot, code=0)


def test_a_stack_of_an_earlier_run_keeps_its_place(shoot):
    run(shoot, "out", "--name", FLAT, "--no-report")
    shoot.manifest({"ONE": shoot.stack("one")})
    assert "'ONE' would have" in check(shoot, "-o", "out", "--name", FLAT)


@pytest.mark.parametrize("template", [FLAT, BY_OUTPUT])
def test_a_frame_is_not_replaced_by_an_output(shoot, template):
    frames = shoot.stack("s")
    here = shoot.root / place(template, "s", f"{BEST}.png")
    here.parent.mkdir(exist_ok=True)
    shutil.copy(shoot.root / frames[0], here)
    rows = (Row("s", (str(here), str(shoot.root / frames[1])), "pairs.csv:2"),)
    options = RunOptions(output=OutputOptions(name=template))
    with Ledger(shoot.root) as ledger:
        (step,) = make_plan(Manifest(shoot.root, rows), shoot.root, options, ledger)
    assert step.action == "refuse"
    assert "has the name of an output of this run, which would replace it" in step.reasons[0]


def test_links_between_folders_of_outputs_are_refused(shoot):
    options = RunOptions(output=OutputOptions(name="{id}/x_{output}"))
    frames = tuple(str(shoot.root / name) for name in shoot.stack("s"))
    rows = (Row("a", frames, "p:2"), Row("b", frames, "p:3"))
    (shoot.root / "out/a").mkdir(parents=True)
    (shoot.root / "out/b").symlink_to("a")
    with Ledger(shoot.root / "out") as ledger:
        steps = make_plan(Manifest(shoot.root, rows), shoot.root / "out", options, ledger)
    assert [step.action for step in steps] == ["fuse", "refuse"]
    assert "out/b: leads to the folder of another stack" in steps[1].reasons[0]


def test_flat_outputs_beside_frames_are_no_frames(shoot):
    for name in ("f1", "f2"):
        shutil.copy(shoot.root / shoot.stack("s")[0], shoot.root / f"{name}.png")
    shutil.copy(shoot.root / "f1.png", shoot.root / f"night_{BEST}.png")
    shoot.manifest({"s": ["*.png"]})
    (line,) = shoot.run("check", "pairs.csv").stdout.splitlines()
    assert "2 frames" in line


def test_a_record_that_leads_out_of_the_directory_is_none(shoot, tmp_path):
    run(shoot, "out", "--name", FLAT, "--no-report")
    journal = tmp_path / "out/.batchstack/journal.jsonl"
    text = journal.read_text()
    assert text.count(FLAT) == 2  # once a stack, whatever the number of methods
    for bad in ('"../{id}_{output}"', '"/{id}_{output}"', "5", '"{id}"'):
        journal.write_text(text.replace(f'"{FLAT}"', bad))
        with Ledger(tmp_path / "out") as ledger:
            assert list(ledger) == []


def test_faults_of_long_lists_are_found():
    ids = [f"stack{number:05}" for number in range(5000)]
    assert faults(FLAT, *ids) == {}
    assert list(faults(FLAT, *ids, "STACK00017")) == [5000]


def test_rows_from_python_are_refused_too(shoot):
    frames = tuple(str(shoot.root / name) for name in shoot.stack("s"))
    rows = (Row("a", frames, "p:2"), Row("A", frames, "p:3"))
    options = RunOptions(output=OutputOptions(name=FLAT))
    with Ledger(shoot.root / "out") as ledger, pytest.raises(ManifestError, match="p:3 'A' would"):
        make_plan(Manifest(shoot.root, rows), shoot.root / "out", options, ledger)
