"""Documents that repeat the program say what the program does."""

import importlib.util
import re
from pathlib import Path

import pytest

from batchstack.cli.main import COMMANDS
from batchstack.fusion import METHODS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


@pytest.fixture(scope="module")
def reference():
    """The script that writes what documents repeat."""
    spec = importlib.util.spec_from_file_location(
        "write_reference", ROOT / "scripts" / "write_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


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
    for document in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\(([^)#]+)\)", document.read_text()):
            if "://" not in target:
                assert (document.parent / target).exists(), (document.name, target)
