"""Documents that repeat the program say what the program does."""

import importlib.util
import re
from pathlib import Path

import pytest

from batchstack.cli.main import COMMANDS
from batchstack.fusion import METHODS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def test_the_command_reference_is_current():
    spec = importlib.util.spec_from_file_location(
        "write_cli_reference", ROOT / "scripts" / "write_cli_reference.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (ROOT / "docs" / "cli.md").read_text() == module.reference()


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
