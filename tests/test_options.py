"""Options are declared once: values are checked, and all that is made of them follows."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchstack
from batchstack.batch.up_to_date import output_key
from batchstack.errors import OptionError
from batchstack.fusion import METHODS
from batchstack.options import AlignOptions, FusionOptions, OutputOptions, RunOptions, declared
from batchstack.options.declaration import Options, option
from batchstack.options.kinds import Choice, Flag, Names, Number, Odd, OddSizes, Whole

ROOT = Path(__file__).parent.parent

# --- keys

MAP = {"map_level": None, "focus_sigma": 1.0, "evidence": 20, "data_range": None}
SOFT = {"levels": 5, "beta": 0.1, "kernel": 3, "data_range": None}
# As they are in the records of existing output directories.
KEYS = {
    "bayesian": MAP | {"levels": 5, "shrink": None},
    "guided": MAP | {"levels": 5, "guide_radius": 1, "guide_epsilon": 0.01, "shrink": None},
    "all_channels": SOFT,
    "by_channel": SOFT,
    "laplacian": SOFT,
    "median_mask": {"levels": 5, "kernel": 3, "median_sizes": None, "data_range": None},
    "direct": {"beta": 0.1, "kernel": 3, "data_range": None},
    "depth_map": MAP,
}
ALIGNED = {
    "align": "auto",
    "border": "crop",
    "match_exposure": "auto",
    "reference": "first",
    "registration": 5,
}


@pytest.mark.parametrize(("name", "own"), KEYS.items())
def test_what_is_recorded_stays_up_to_date(name, own):
    method = METHODS[name]
    expected = own | ALIGNED | {"algorithm": method.algo_version, "format": "png"}
    assert output_key(method, RunOptions(), ".png") == expected


def test_the_key_holds_what_only_some_outputs_depend_on():
    plain = output_key(METHODS["direct"], RunOptions(), ".png")
    jpeg = output_key(METHODS["direct"], RunOptions(output=OutputOptions(quality=80)), ".jpg")
    assert jpeg == plain | {"format": "jpg", "quality": 80}
    resized = output_key(METHODS["direct"], RunOptions(resize=True), ".png", resized=True)
    assert resized == plain | {"resize": True}
    assert output_key(METHODS["direct"], RunOptions(resize=True), ".png") == plain
    off = RunOptions(alignment=AlignOptions("off", border="fill"))
    own = {"algorithm": METHODS["direct"].algo_version, "format": "png", "align": "off"}
    assert output_key(METHODS["direct"], off, ".png") == KEYS["direct"] | own


def test_a_key_is_the_same_after_it_was_written_as_json():
    sizes = FusionOptions(median_sizes=(9, 9, 5, 3, 3))
    key = output_key(METHODS["median_mask"], RunOptions(fusion=sizes), ".png")
    assert json.loads(json.dumps(key)) == key


def test_every_fusion_option_acts_on_something_that_there_is():
    parts = set().union(*(method.parts for method in METHODS.values()))
    for known in declared(FusionOptions).values():
        assert known.used_by and known.used_by <= parts, known.name
    others = {"any", "alignment", "lossy", "resized", "cropped", "stripped", "named"}
    for name, known in declared(RunOptions).items():
        assert known.used_by <= parts | others, name


# --- values


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("levels", 17, "levels is 17; give a whole number from 1 to 16"),
        ("levels", 2.0, "levels is 2.0; give a whole number from 1 to 16"),
        ("levels", True, "levels is True; give a whole number"),
        ("levels", None, "levels is None; give a whole number"),
        ("beta", 0.0, "beta is 0.0; give a number above 0"),
        ("beta", float("nan"), "beta is nan; give a number above 0"),
        ("shrink", float("nan"), "shrink is nan; give a number from 0 to 255"),
        ("data_range", float("inf"), "data-range is inf; give a number above 0"),
        ("shrink", "8", "shrink is '8'; give a number from 0 to 255"),
        ("kernel", 4, "kernel is 4; give an odd number of pixels from 1 to 255"),
        ("median_sizes", (4, 3), "median-sizes is 4,3; give odd numbers of pixels from 1 to 255"),
        ("median_sizes", (5, 3), "median-sizes has 2 values for 5 levels; give one odd size"),
        ("align", "rigid", "align is 'rigid'; give one of off, auto, translation"),
        ("match_exposure", 1, "match-exposure is 1; give one of auto, on, off"),
        ("quality", 0, "quality is 0; give a whole number from 1 to 100"),
        ("methods", "direct", "methods is 'direct'; give names"),
        ("tile", 0, "tile is 0; give a whole number from 1 up"),
    ],
)
def test_a_bad_value_is_refused_with_what_to_give(name, value, message):
    with pytest.raises(OptionError) as refusal:
        RunOptions().overlaid({name: value})
    assert str(refusal.value).startswith(message)


KINDS = {
    Whole(-3, 12): st.integers(-3, 12),
    Whole(1): st.integers(1),
    Odd(1, 99): st.integers(0, 49).map(lambda half: 2 * half + 1),
    Number(0, 20): st.floats(0, 20),
    Number(0, above=True): st.floats(0, exclude_min=True, allow_infinity=False),
    OddSizes(): st.lists(st.sampled_from([1, 3, 255]), min_size=1).map(tuple),
    Choice(("a", "b")): st.sampled_from(["a", "b"]),
    Flag(): st.booleans(),
    Names(): st.lists(st.text("abc_", min_size=1), unique=True).map(tuple),
}


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@given(data=st.data())
def test_a_value_within_its_limits_is_what_its_text_means(kind, data):
    value = data.draw(KINDS[kind])
    assert kind.accepts(value)
    text = ",".join(map(str, value)) if kind.is_list else str(value)
    assert kind.parse(text) == value


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (Whole(1, 16), [0, 17, 1.0, True, "3", None]),
        (Odd(1, 99), [-1, 0, 2, 101]),
        (Number(0, 20), [-1e-9, 20.1, float("nan"), False, "1"]),
        (Number(0, above=True), [0, float("inf")]),
        (OddSizes(), [(2,), (257,), 3, [3]]),
        (Choice(("a", "b")), ["c", "", None]),
        (Flag(), [0, "true", None]),
        (Names(), ["ab", (1,)]),
    ],
    ids=repr,
)
def test_values_beyond_the_limits_are_refused(kind, values):
    assert not [value for value in values if kind.accepts(value)]


def test_values_are_laid_over_the_group_they_belong_to():
    options = RunOptions(fusion=FusionOptions(beta=0.5), resize=True)
    laid = options.overlaid({"levels": 3, "align": "off", "quality": 80, "tile": 64})
    assert (laid.fusion.levels, laid.fusion.beta) == (3, 0.5)
    assert (laid.alignment.align, laid.output.quality) == ("off", 80)
    assert (laid.tile, laid.resize) == (64, True)
    assert options.overlaid({}) is options
    with pytest.raises(TypeError, match="sparkle"):
        options.overlaid({"sparkle": 3})


# --- a new one


@dataclass(frozen=True)
class Undeclared(FusionOptions):
    sparkle: int = 7


@dataclass(frozen=True)
class Twice(Options):
    fusion: FusionOptions
    levels: int = option(3, Whole(0), group="Fusion", help="", used_by=())


@pytest.mark.parametrize("group", [Undeclared, Twice])
def test_options_without_a_declaration_of_their_own_are_a_mistake(group):
    with pytest.raises(TypeError, match=r"Undeclared\.sparkle is not declared|two options levels"):
        declared(group)


LOOK = """
import json, sys
from pathlib import Path
from click.testing import CliRunner
sys.path.insert(0, "scripts")
import write_reference
from batchstack.batch.manifest import load_manifest
from batchstack.batch.plan import RunOptions, row_options
from batchstack.batch.up_to_date import output_key
from batchstack.cli.main import cli
from batchstack.fusion import METHODS
rows = load_manifest("pairs.csv", known_methods=METHODS).rows
run = RunOptions()
print(json.dumps({
    "help": CliRunner().invoke(cli, ["run", "--help"]).output,
    "refusal": str(CliRunner().invoke(cli, ["run", "pairs.csv", "-o", "o", "--sparkle", "10"])
        .exception),
    "rows": [row_options(row, run).fusion.sparkle for row in rows],
    "keys": [name for name, one in METHODS.items() if "sparkle" in output_key(one, run, ".png")],
    "table": write_reference.columns(),
}))
"""


@pytest.fixture
def changed(tmp_path):
    """Give a copy of the program one more field; run a piece of code with it."""
    shutil.copytree(Path(batchstack.__file__).parent, tmp_path / "batchstack")
    shutil.copytree(ROOT / "scripts", tmp_path / "scripts")
    (tmp_path / "pairs.csv").write_text("id,back,front,sparkle\na,a,b,3\nb,a,b,\n")
    (tmp_path / "bad.csv").write_text("id,back,front,sparkle\na,a,b,10\n")
    for name in "ab":
        (tmp_path / name).touch()
    source = tmp_path / "batchstack" / "options" / "__init__.py"

    def run(field, code):
        text = source.read_text()
        assert text.count("    beta: float") == 1
        source.write_text(text.replace("    beta: float", f"    {field}\n    beta: float"))
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-c", code]
        return subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240
        )

    return run


def test_one_field_is_all_that_a_new_option_takes(changed):
    done = changed(
        'sparkle: int = option(7, Whole(0, 9), group="Fusion", help="Glitter", used_by={"soft"})',
        LOOK,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert "--sparkle INTEGER" in said["help"] and "Glitter; from 0 to 9" in said["help"]
    assert said["refusal"] == "sparkle is 10; give a whole number from 0 to 9"
    assert said["rows"] == [3, 7]
    soft = ["all_channels", "by_channel", "laplacian", "direct"]
    assert said["keys"] == soft
    users = ", ".join(f"`{name}`" for name in soft)
    assert f"| `sparkle` | Glitter | a whole number from 0 to 9 | 7 | {users} |" in said["table"]


def test_a_manifest_value_of_a_new_option_is_checked(changed):
    done = changed(
        'sparkle: int = option(7, Whole(0, 9), group="Fusion", help="Glitter", used_by={"soft"})',
        "from batchstack.cli.main import main; import sys; sys.argv = ['', 'check', 'bad.csv']; "
        "main()",
    )
    assert done.returncode == 2
    assert "bad.csv:2:4 sparkle: 10; give a whole number from 0 to 9" in done.stderr


def test_a_field_without_a_declaration_does_not_get_as_far_as_a_manifest(changed):
    done = changed("sparkle: int = 7", "import batchstack.options")
    assert "FusionOptions.sparkle is not declared by option()" in done.stderr
