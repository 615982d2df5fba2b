"""Machine code is kept for the next process, and only for the sources it was made from."""

import ast
import importlib
import json
import os
import pkgutil
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba.core.caching import CompileResultCacheImpl
from numba.core.dispatcher import Dispatcher

import batchstack
from batchstack import compiled
from batchstack.compiled import kept

# They share a copy that has compiled.
pytestmark = pytest.mark.xdist_group("compiled")

# The first of two rows that the kernel `reduce` of kernels/pyramid.py makes of rows 0, 1, 2: it
# asks the routine `mirrored` of `compiled` for the two rows before, 2 and 1, and their mean is
# (2 + 4 + 0 + 4 + 2) / 16.
SCRIPT = """
import json
import numpy as np
from batchstack import compiled
from batchstack.fusion.kernels import pyramid

rows = np.repeat(np.arange(3, dtype=np.float32)[:, None], 4, axis=1)[None]
half = np.empty((1, 2, 2), np.float32)
{before}
pyramid.reduce(rows, 3, 0, 1, half, np.empty(16, np.float32))
stats = pyramid.reduce.stats
print(json.dumps({{
    "row": float(half[0, 0, 0]),
    "loaded": sum(stats.cache_hits.values()),
    "kept": all(compiled.KEPT),
    "compiled": len(compiled.COMPILED),
}}))
"""
# What the row is with them, and what it is if row 0 stands for the row before.
RIGHT, CHANGED = 0.75, 0.5
MIRRORED, REPEATED = "2 * size - 2 - folded", "2 * size - 3 - folded"


class Package:
    """A copy of the program, with the code it has kept beside its sources."""

    def __init__(self, root):
        self.sources = root / "batchstack"
        self.kept = self.sources / "fusion" / "kernels" / "__pycache__"

    def run(self, before=""):
        done = subprocess.run(
            [sys.executable, "-c", SCRIPT.format(before=before)],
            cwd=self.sources.parent,
            # Python keeps bytecode by times and sizes, which these tests leave as they are.
            env={name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
            | {"PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def replace(self, name, old, new):
        path = self.sources / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def code(self):
        return {path.name: path.read_bytes() for path in self.kept.glob("*reduce*.nb?")}


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The root of a copy that has kept the code of one kernel."""
    root = tmp_path_factory.mktemp("warm")
    source = Path(batchstack.__file__).parent
    shutil.copytree(source, root / "batchstack", ignore=shutil.ignore_patterns("__pycache__"))
    assert Package(root).run() == {"row": RIGHT, "loaded": 0, "kept": True, "compiled": 1}
    return root


@pytest.fixture
def package(warm, tmp_path):
    shutil.copytree(warm / "batchstack", tmp_path / "batchstack")
    return Package(tmp_path)


def test_the_same_sources_need_no_compiling_whenever_they_were_written(package):
    for path in package.sources.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
    assert package.run() == {"row": RIGHT, "loaded": 1, "kept": True, "compiled": 0}


def test_kept_code_is_loaded_without_what_only_compiling_needs(package):
    """Types and operators of Numba take longer to load than the code."""
    none = "from numba.core.registry import cpu_target\ncpu_target.target_context.refresh = None"
    assert package.run(none) == {"row": RIGHT, "loaded": 1, "kept": True, "compiled": 0}


def test_code_of_a_kernel_of_many_routines_is_found_by_the_next_process(tmp_path):
    script = (
        "import numpy as np\n"
        "from batchstack.registration.kernels.blocks import summed\n"
        "from batchstack.compiled import COMPILED\n"
        "sums = np.zeros((1, 1, 15), np.float32)\n"
        "summed(*np.zeros((2, 12, 12), np.float32), 4, 2, sums)\n"
        "print(COMPILED)"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", script],
            env=os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for _ in range(2)
    ]
    assert "summed" in said[0]
    assert said[1].strip() == "[]"


def test_code_of_a_routine_that_has_changed_in_another_file_is_not_run(package):
    before, own = package.code(), (package.sources / "fusion/kernels/pyramid.py").stat()
    package.replace("compiled/__init__.py", MIRRORED, REPEATED)
    assert package.run() == {"row": CHANGED, "loaded": 0, "kept": True, "compiled": 1}
    assert package.run() == {"row": CHANGED, "loaded": 1, "kept": True, "compiled": 0}
    now = (package.sources / "fusion/kernels/pyramid.py").stat()
    assert (now.st_size, now.st_mtime_ns) == (own.st_size, own.st_mtime_ns)
    assert package.code().keys() == before.keys()  # replaced, not added to


def test_code_of_other_sources_is_not_run_though_the_index_promises_it(package):
    """Numba replaces the index first; the process may be killed before it replaces the code."""
    before = package.code()
    package.replace("compiled/__init__.py", MIRRORED, REPEATED)
    package.run()
    (name,) = (name for name in before if name.endswith(".nbc"))
    (package.kept / name).write_bytes(before[name])
    assert package.run() == {"row": CHANGED, "loaded": 0, "kept": True, "compiled": 1}
    assert package.run() == {"row": CHANGED, "loaded": 1, "kept": True, "compiled": 0}


@pytest.mark.parametrize("suffix", [".nbi", ".nbc"])
def test_torn_files_are_compiled_and_written_anew(package, suffix):
    (name,) = (name for name in package.code() if name.endswith(suffix))
    path = package.kept / name
    path.write_bytes(path.read_bytes()[:100])
    assert package.run() == {"row": RIGHT, "loaded": 0, "kept": True, "compiled": 1}
    assert package.run() == {"row": RIGHT, "loaded": 1, "kept": True, "compiled": 0}


def test_a_kernel_that_has_moved_in_its_file_leaves_no_code_behind(package):
    before = package.code()
    package.replace("fusion/kernels/pyramid.py", "import numpy as np\n", "import numpy as np\n\n\n")
    assert package.run()["loaded"] == 0
    assert package.code().keys() == before.keys()


def test_code_that_cannot_be_written_is_used_all_the_same(package):
    """The folder is gone since the program has started, and its place is taken."""
    blocked = (
        f"import pathlib, shutil; folder = pathlib.Path({str(package.kept)!r})\n"
        "shutil.rmtree(folder); folder.touch()"
    )
    assert package.run(blocked)["row"] == RIGHT


ALIGNS = """
import numpy as np
from batchstack import compiled, scenes
from batchstack.geometry import Box
from batchstack.registration import Light, estimate_stack, warp_window

camera = scenes.Camera(breathing=0.01)
frames = scenes.make_stack((96, 128), camera=camera).frames
moved = estimate_stack(frames)[1]
warp_window(frames[1], moved, Box(0, 0, 96, 128))
warp_window(frames[1], moved, Box(0, 0, 96, 128), light=Light((1.1,) * 3))
print(moved.is_identity, compiled.COMPILED)
"""


def test_what_one_process_has_compiled_to_align_no_other_compiles():
    # A kernel that closes over a routine would be compiled by each.
    said = [
        subprocess.run([sys.executable, "-c", ALIGNS], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert said[1].stdout.split() == ["False", "[]"]


def test_a_kernel_that_no_other_process_would_find_is_refused():
    held = np.float32(1)

    def made(values):
        values[0] = held

    with pytest.raises(TypeError, match="closes over nothing"):
        compiled.kernel(made)


def test_kernels_do_not_share_files():
    names = []
    for module in pkgutil.walk_packages(batchstack.__path__, "batchstack."):
        if module.name.split(".")[1] not in kept.ROOMS:
            continue
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, Dispatcher) and value.__module__ == module.name:
                names += [value._cache._cache_file._index_path] if value.stats.cache_path else []
    assert len(names) > 10
    assert len(set(names)) == len(names)


def names_in(path):
    """Every name of the program that a source imports, as module.name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "batchstack":
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_kernels_stand_and_look_only_where_a_change_makes_them_new():
    top, makers = Path(batchstack.__file__).parent, ("kernel", "bare_kernel", "routine", "inlined")
    found = 0
    for path in top.rglob("*.py"):
        names = set(names_in(path))
        if not names & {f"batchstack.compiled.{name}" for name in makers}:
            continue
        found += 1
        assert path.relative_to(top).parts[0] in kept.ROOMS, path
        # Of other rooms only what no machine code is made of.
        foreign = {name for name in names if name.split(".")[1] not in kept.ROOMS}
        assert foreign <= {"batchstack.errors.StackError", "batchstack.geometry.Box"}, path
    assert found > 6


@pytest.mark.parametrize("room", kept.ROOMS)
def test_a_change_in_any_room_with_kernels_makes_their_code_new(package, room):
    with (package.sources / room / "__init__.py").open("a") as source:
        source.write("\n")
    assert package.run() == {"row": RIGHT, "loaded": 0, "kept": True, "compiled": 1}


@pytest.mark.parametrize(
    "change",
    [
        lambda patch: patch.setitem(sys.modules, "batchstack.compiled.kept", None),
        lambda patch: patch.setattr(kept._Cache, "_impl_class", CompileResultCacheImpl),
        lambda patch: patch.setattr(kept._Cache, "_impl_class", None),
    ],
    ids=["other names", "other means", "other arguments"],
)
def test_a_numba_that_keeps_code_by_other_means_keeps_none(monkeypatch, change):
    monkeypatch.setattr(compiled, "KEPT", [])
    change(monkeypatch)

    @compiled.kernel
    def double(values, out):
        for i in range(values.size):
            out[i] = 2 * values[i]

    assert compiled.KEPT == [False]
    assert double.stats.cache_path is None
    out = np.empty(2, np.float32)
    double(np.array([1, 2], np.float32), out)
    assert out.tolist() == [2, 4]
