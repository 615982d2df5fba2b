"""Options in a file, what goes before what, and completion in the shell."""

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest


@pytest.fixture
def printed(workspace):
    """The options that a command would use, by a file of the given text."""

    def values(text, *arguments, command="run"):
        (workspace.root / "b.toml").write_text(text)
        said = workspace.run(command, "--config", "b.toml", "--print-config", *arguments).stdout
        return tomllib.loads(said)[command]

    return values


def test_the_command_line_goes_before_the_table_and_that_before_the_top(printed):
    text = "levels = 3\nbeta = 1\nquality = 50\n[run]\nbeta = 2\nquality = 60\n[fuse]\nbeta = 9\n"
    given = printed(text, "--quality", 70)
    assert given == {"levels": 3, "beta": 2.0, "quality": 70}


def test_rows_of_a_manifest_go_before_a_file_and_a_file_before_defaults(workspace):
    frames = {name: workspace.stack(name, shape=(16, 16)) for name in ("own", "plain")}
    workspace.manifest(frames, columns=[("levels", ["2", ""])])
    (workspace.root / "b.toml").write_text(
        'methods = "all_channels"\nlevels = 3\nalign = "off"\nworkers = 0\n'
    )
    run = ("run", "pairs.csv", "-o", "out", "--config", "b.toml")
    said = workspace.run(*run, "--no-report").stderr
    assert "2 done" in said
    assert "all methods are computed" not in said
    check = ("check", "pairs.csv", "-o", "out", "--methods", "all_channels", "--align", "off")
    lines = workspace.run(*check, "--levels", 3).stdout.splitlines()
    assert all(line.startswith("skip") for line in lines)
    (own, plain) = workspace.run(*check, "--levels", 2).stdout.splitlines()
    assert own.startswith("skip")
    assert "levels 3 -> 2" in plain


def test_what_is_printed_says_the_same_when_it_is_read(printed, workspace):
    text = 'methods = ["direct", "guided"]\nmedian-sizes = "9,9,5,3,3"\nmatch_exposure = true\n'
    text += 'transforms = "odd \\" name.json"\nmemory-limit = "1GiB"\nresize = true\n'
    first = printed(text)
    assert first["match-exposure"] == "on"
    assert first["memory-limit"] == 2**30
    lines = "\n".join(f"{key} = {_toml(value)}" for key, value in first.items())
    assert printed(lines) == first


def _toml(value):
    return repr(value).replace("True", "true") if not isinstance(value, str) else f"'{value}'"


def test_paths_are_relative_to_the_file(workspace):
    (workspace.root / "settings").mkdir()
    (workspace.root / "settings/b.toml").write_text('[run]\noutput = "../there"\n')
    workspace.manifest({"s": workspace.stack("s")})
    options = ("--methods", "direct", "--workers", 0, "--align", "off", "--no-report")
    workspace.run("run", "pairs.csv", "--config", "settings/b.toml", *options)
    assert workspace.finished("there") == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("levles = 3", "b.toml: unknown option 'levles'; did you mean 'levels'?"),
        ("levels = 0", "b.toml: levels: levels is 0; give a whole number from 1 to 16"),
        ("levels = 'many'", "b.toml: levels: 'many' is not a whole number"),
        ("format = 'gif'", "b.toml: format: 'gif' is not one of"),
        ("workers = -1", "b.toml: workers: -1 is not in the range"),
        ("score = 'yes'", "b.toml: score: give true or false"),
        ("levels = 2000-01-01", "b.toml: levels: give a text, a number"),
        ("[rnu]\nlevels = 3", "b.toml: unknown table 'rnu'; did you mean 'run'?"),
        ("levels = ", "b.toml: is not TOML: "),
        (f"levels = {'[' * 20_000}", "b.toml: is not TOML: "),
        ("memory-limit = '1e400'", "b.toml: memory-limit: '1e400' is no size"),
        ("levels = '\udcff'", "b.toml: is not UTF-8 text"),
    ],
)
def test_what_a_file_cannot_mean_is_told_by_name(workspace, text, message):
    (workspace.root / "b.toml").write_bytes(text.encode(errors="surrogateescape"))
    done = workspace.run("run", "m.csv", "-o", "out", "--config", "b.toml", code=2)
    assert f"batchstack: {message}" in done.stderr


def test_options_of_other_commands_are_left_alone(printed):
    assert printed("max-failures = 3\nlevels = 3", command="fuse") == {"levels": 3}
    # What scan calls output is a manifest.
    assert printed('output = "x"\nlevels = 3', command="scan") == {"levels": 3}


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        ("batchstack che", {"check"}),
        ("batchstack run --max", {"--max-failures"}),
        ("batchstack run --methods bayesian,di", {"bayesian,direct"}),
        ("batchstack fuse --align tr", {"translation"}),
    ],
)
def test_the_shell_completes_commands_options_and_names(words, offered):
    environment = {
        "_BATCHSTACK_COMPLETE": "bash_complete",
        "COMP_WORDS": words,
        "COMP_CWORD": str(words.count(" ")),
    }
    done = subprocess.run(
        [Path(sys.executable).parent / "batchstack"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert {line.partition(",")[2] for line in done.stdout.splitlines()} == offered
