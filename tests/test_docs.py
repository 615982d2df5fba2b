"""Documents that repeat the program say what the program does."""

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from batchstack.cli.main import COMMANDS, cli
from batchstack.fusion import METHODS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
DOCUMENTS = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPES = sorted(path for path in (ROOT / "docs" / "recipes").rglob("*") if path.is_file())
# Options of other programs that documents name in passing, and of the benchmarks.
FOREIGN = {"--lifetime", "--hypothesis-profile"}.union(
    *(re.findall(r'"(--[a-z-]+)"', path.read_text()) for path in ROOT.glob("benchmarks/*.py"))
)


def script(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def reference():
    """The script that writes what documents repeat."""
    return script("write_reference")


def options_of(command):
    found = {"--help", "-h"}
    for parameter in cli.get_command(click.Context(cli), command).params:
        if isinstance(parameter, click.Option):
            found |= {*parameter.opts, *parameter.secondary_opts}
    return found


def commands_in(text):
    """Every `batchstack ...` of a document: after a prompt, as code in a line, or in a script."""
    joined = text.replace("\\\n", " ")
    yield from re.findall(r"^\$ (batchstack .*)$", joined, re.MULTILINE)
    yield from re.findall(r"`(batchstack [^`\n]+)`", joined)


def strange(command):
    """What in a command the program does not know."""
    words = shlex.split(command, comments=True)
    name = words[1] if len(words) > 1 else ""
    if name.startswith("-"):
        return sorted({word for word in words[1:] if word not in ("--version", "--help", "-h")})
    if name not in COMMANDS:
        return [name]
    given = {word.partition("=")[0] for word in words[2:] if re.match(r"--?[a-z]", word)}
    return sorted(given - options_of(name))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_and_options_in_documents_are_there(path):
    text = path.read_text()
    for command in commands_in(text):
        assert not strange(command), command
    known = set().union(*map(options_of, COMMANDS)) | FOREIGN | {"--version"}
    named = {word for code in re.findall(r"`(--[^`\n]*)`", text) for word in code.split()}
    named = {word.partition("=")[0].rstrip(",") for word in named if word.startswith("--")}
    assert named <= known


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: str(path.relative_to(ROOT)))
def test_options_in_recipes_are_there(path):
    text = path.read_text().replace("\\\\\n", " ").replace("\\\n", " ")
    for name, rest in re.findall(rf"batchstack ({'|'.join(COMMANDS)})\b([^\n]*)", text):
        given = set(re.findall(r"(?<=\s)--?[a-z][\w-]*", rest))
        assert given <= options_of(name), (name, rest)


@pytest.mark.parametrize(
    "command",
    [
        "batchstack fuze",
        "batchstack run m.csv --outptu o",
        "batchstack run m.csv -x",
        "batchstack --scan",
        "batchstack fuse --method=direct",
    ],
)
def test_a_command_that_is_not_there_is_seen(command):
    assert strange(command)


@pytest.mark.parametrize("name", ["macro", "microscope"])
def test_tutorials_show_what_is_printed(name, tmp_path):
    tutorials = script("write_tutorials")
    text = (ROOT / "docs" / "tutorials" / f"{name}.md").read_text()
    found = tutorials.run(text, tmp_path)
    assert tutorials.without_figures(found) == tutorials.without_figures(text), (
        "run scripts/write_tutorials.py and read what has changed"
    )


def test_the_index_of_the_documentation_has_every_page():
    index = (ROOT / "docs" / "README.md").read_text()
    pages = {path.relative_to(ROOT / "docs") for path in DOCUMENTS if ROOT / "docs" in path.parents}
    assert {str(page) for page in pages} - {"README.md"} == set(re.findall(r"\]\(([^)]+)\)", index))


def test_the_command_reference_is_current(reference):
    assert (ROOT / "docs" / "cli.md").read_text() == reference.commands()


def test_the_table_of_options_in_the_manifest_reference_is_current(reference):
    text = (ROOT / "docs" / "manifest.md").read_text()
    assert text == reference.manifest(text)
    assert text.count("| `levels` |") == 1


@pytest.mark.parametrize("name", [*COMMANDS, *METHODS])
def test_the_readme_names_every_command_and_method(name):
    assert re.search(rf"`{name}`|batchstack {name}", README), name


@pytest.mark.parametrize("output", [o for m in METHODS.values() for o in m.outputs])
def test_the_readme_names_every_output(output):
    assert f"`{output}`" in README


def test_links_lead_somewhere():
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), (document.name, target)
