"""Rooms import downwards only."""

import ast
from pathlib import Path

import pytest

import batchstack

ROOT = Path(batchstack.__file__).parent
MAY_USE = {
    "errors": set(),
    "options": {"errors"},
    "files": {"errors"},
    "fusion": {"fusion", "errors", "options"},
    "images": {"images", "files", "errors", "options"},
    "batch": {"batch", "images", "fusion", "files", "errors", "options"},
    "cli": {"cli", "batch", "images", "fusion", "files", "errors", "options"},
}
NEVER = {
    "fusion": {"dask", "distributed", "tifffile", "pathlib", "click", "os"},
    "images": {"dask", "distributed", "click"},
    "batch": {"click", "tqdm"},
    "cli": {"cv2", "numpy", "dask.array"},
}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in MAY_USE:
            yield pytest.param(path, room, id=str(path.relative_to(ROOT)))


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module


@pytest.mark.parametrize(("path", "room"), list(modules()))
def test_imports_point_downwards(path, room):
    for name in imports(path):
        first, _, rest = name.partition(".")
        if first == "batchstack" and rest:
            assert rest.partition(".")[0] in MAY_USE[room], name
        assert not NEVER.get(room, set()) & {first, name}, name


def test_every_module_is_in_a_room():
    top = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert top - {"__init__", "__main__"} == set(MAY_USE)
