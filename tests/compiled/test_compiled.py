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
from typing import NamedTuple

import numpy as np
import pytest

import batchstack
from batchstack import compiled
from batchstack.compiled import compiler, kept, kernels, machine

# They share a copy that has compiled.
pytestmark = pytest.mark.xdist_group("compiled")

# The first of two rows that the kernel `reduce` of kernels/pyramid.py makes of rows 0, 1, 2: it
# asks the routine `mirrored` of `compiled` for the two rows before, 2 and 1, and their mean is
# (2 + 4 + 0 + 4 + 2) / 16.
SCRIPT = """
import json
import sys
import numpy as np
from batchstack import compiled
from batchstack.fusion.kernels import pyramid

rows = np.repeat(np.arange(3, dtype=np.float32)[:, None], 4, axis=1)[None]
half = np.empty((1, 2, 2), np.float32)
{before}
pyramid.reduce(rows, 3, 0, 1, half, np.empty(16, np.float32))
print(json.dumps({{
    "row": float(half[0, 0, 0]),
    "compiled": len(compiled.COMPILED),
    "unkept": len(compiled.UNKEPT),
    "numba": "numba" in sys.modules,
}}))
"""
# What the row is with them, and what it is if row 0 stands for the row before.
RIGHT, CHANGED = 0.75, 0.5
MIRRORED, REPEATED = "2 * size - 2 - folded", "2 * size - 3 - folded"
COLD = {"compiled": 1, "unkept": 0, "numba": True}
LOADED = {"compiled": 0, "unkept": 0, "numba": False}
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "NUMBA_CACHE_DIR"}
# Python keeps bytecode by times and sizes, which these tests leave as they are.
ENVIRONMENT["PYTHONDONTWRITEBYTECODE"] = "1"


class Package:
    """A copy of the program, with the code it has kept beside its sources."""

    def __init__(self, root):
        self.sources = root / "batchstack"
        self.kept = self.sources / "compiled" / "__pycache__"
        self.home = root / "home"

    def start(self, before="", **environment):
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT.format(before=before)],
            cwd=self.sources.parent,
            env=ENVIRONMENT | {"XDG_CACHE_HOME": str(self.home)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, before="", **environment):
        process = self.start(before, **environment)
        said, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
        return json.loads(said)

    def replace(self, name, old, new):
        path = self.sources / name
        text = path.read_text()
        assert text.count(old) == 1
        path.write_text(text.replace(old, new))

    def code(self):
        return {path.name: path.read_bytes() for path in self.kept.iterdir() if path.is_file()}

    def spoil(self, change):
        """Put something else in the place of the kept code."""
        (path,) = self.kept.iterdir()
        path.write_bytes(change(path.read_bytes()))


@pytest.fixture(scope="module")
def warm(tmp_path_factory):
    """The root of a copy that has kept the code of one kernel."""
    root = tmp_path_factory.mktemp("warm")
    source = Path(batchstack.__file__).parent
    shutil.copytree(source, root / "batchstack", ignore=shutil.ignore_patterns("__pycache__"))
    assert Package(root).run() == {"row": RIGHT, **COLD}
    return root


@pytest.fixture
def package(warm, tmp_path):
    shutil.copytree(warm / "batchstack", tmp_path / "batchstack")
    return Package(tmp_path)


def test_the_same_sources_need_no_compiling_whenever_they_were_written(package):
    for path in package.sources.rglob("*.py"):
        os.utime(path, (1e9, 1e9))
    assert package.run() == {"row": RIGHT, **LOADED}


def test_code_of_a_routine_that_has_changed_in_another_file_is_not_run(package):
    before = package.code()
    package.replace("compiled/__init__.py", MIRRORED, REPEATED)
    assert package.run() == {"row": CHANGED, **COLD}
    assert package.run() == {"row": CHANGED, **LOADED}
    assert package.code().keys() == before.keys()  # replaced, not added to


def test_a_kernel_that_has_moved_in_its_file_leaves_no_code_behind(package):
    before = package.code()
    package.replace("fusion/kernels/pyramid.py", "import numpy as np\n", "import numpy as np\n\n\n")
    assert package.run() == {"row": RIGHT, **COLD}
    assert package.code().keys() == before.keys()


@pytest.mark.parametrize("room", kept.ROOMS)
def test_a_change_in_any_room_with_kernels_makes_their_code_new(package, room):
    with (package.sources / room / "__init__.py").open("a") as source:
        source.write("\n")
    assert package.run() == {"row": RIGHT, **COLD}


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[:3000],
        lambda content: b"",
        lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    ],
    ids=["torn", "empty", "one bit"],
)
def test_code_that_is_damaged_is_never_run_but_written_anew(package, change):
    package.spoil(change)
    assert package.run() == {"row": RIGHT, **COLD}
    assert package.run() == {"row": RIGHT, **LOADED}


def test_code_for_another_processor_is_never_run_under_the_name_of_ours(package):
    """Such as that of a computer that shares the folder, or is given its files."""
    other = {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    ours = package.code()
    assert package.run(**other) == {"row": RIGHT, **COLD}
    (name,) = package.code().keys() - ours.keys()
    (own,) = ours
    (package.kept / own).write_bytes(package.code()[name])
    assert package.run() == {"row": RIGHT, **COLD}
    assert package.run(**other) == {"row": RIGHT, **LOADED}  # neither has taken the other's place
    assert package.run() == {"row": RIGHT, **LOADED}


def test_processes_that_compile_at_once_leave_whole_code_and_nothing_else(package):
    before = package.code()
    package.spoil(lambda content: b"")
    processes = [package.start() for _ in range(2)]
    said = [json.loads(process.communicate(timeout=120)[0]) for process in processes]
    assert [one["row"] for one in said] == [RIGHT, RIGHT]
    assert package.code().keys() == before.keys()
    assert package.run() == {"row": RIGHT, **LOADED}


BLOCKED = """
import pathlib, shutil
for path in {paths!r}:
    shutil.rmtree(path, ignore_errors=True)
    pathlib.Path(path).touch()
"""


def test_where_the_package_cannot_be_written_code_is_kept_with_the_user(package):
    taken = BLOCKED.format(paths=[str(package.kept)])
    assert package.run(taken) == {"row": RIGHT, **COLD}
    assert package.run() == {"row": RIGHT, **LOADED}
    (folder,) = (package.home / "batchstack").iterdir()
    assert len(list(folder.iterdir())) == 1


def test_code_that_cannot_be_kept_is_used_all_the_same(package):
    taken = BLOCKED.format(paths=[str(package.kept), str(package.home)])
    assert package.run(taken) == {"row": RIGHT, "compiled": 1, "unkept": 1, "numba": True}


def test_code_is_kept_where_the_user_says_and_nowhere_else(package, tmp_path):
    shutil.rmtree(package.kept)
    told = {"NUMBA_CACHE_DIR": str(tmp_path / "told" / "here")}
    assert package.run(**told) == {"row": RIGHT, **COLD}
    assert package.run(**told) == {"row": RIGHT, **LOADED}
    assert not package.kept.exists()


@pytest.mark.parametrize(
    "lacking",
    [
        "import llvmlite.binding as llvm; del llvm.create_lljit_compiler",
        "from batchstack.compiled import machine; machine.runner = None",
        "import numba.core.codegen as c; del c.CPUCodeLibrary.serialize_using_object_code",
        "from batchstack.compiled import kept; kept.ROOMS = ()",
    ],
    ids=["no linker", "no runner", "no object code", "no sources"],
)
def test_a_numba_that_lacks_what_keeping_needs_is_used_as_it_is(package, lacking):
    package.spoil(lambda content: b"")
    said = package.run(lacking)
    assert said == {"row": RIGHT, "compiled": 1, "unkept": 1, "numba": True}


ALIGNS = """
import sys
import numpy as np
from batchstack import compiled, scenes
from batchstack.geometry import Box
from batchstack.registration import Light, estimate_stack, warp_window

camera = scenes.Camera(breathing=0.01)
frames = scenes.make_stack((96, 128), camera=camera).frames
moved = estimate_stack(frames)[1]
warp_window(frames[1], moved, Box(0, 0, 96, 128))
warp_window(frames[1], moved, Box(0, 0, 96, 128), light=Light((1.1,) * 3))
print(moved.is_identity, compiled.COMPILED, compiled.UNKEPT, "numba" in sys.modules)
"""


def test_what_one_process_has_compiled_to_align_no_other_compiles():
    said = [
        subprocess.run([sys.executable, "-c", ALIGNS], capture_output=True, text=True, check=True)
        for _ in range(2)
    ]
    assert said[1].stdout.split() == ["False", "[]", "[]", "False"]


def test_a_kernel_that_no_other_process_would_find_is_refused():
    held = np.float32(1)

    def made(values):
        values[0] = held

    with pytest.raises(TypeError, match="closes over nothing"):
        compiled.kernel(made)


def modules_with_kernels():
    for module in pkgutil.walk_packages(batchstack.__path__, "batchstack."):
        if module.name.split(".")[1] in kept.ROOMS:
            yield importlib.import_module(module.name)


def test_kernels_do_not_share_files():
    found = [
        value
        for module in modules_with_kernels()
        for value in vars(module).values()
        if isinstance(value, kernels.Kernel) and value.__module__ == module.__name__
    ]
    assert len(found) > 20
    assert len({kept._file_name(one.name, ()) for one in found}) == len(found)


def names_in(path):
    """Every name of the program that a source imports, as module.name."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "batchstack":
            yield from (f"{node.module}.{name.name}" for name in node.names)


def test_kernels_stand_and_look_only_where_a_change_makes_them_new():
    top, makers = Path(batchstack.__file__).parent, ("kernel", "routine", "inlined")
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


# --- arguments


class Pair(NamedTuple):
    values: np.ndarray
    factor: float


@compiled.kernel
def gather(
    pair: Pair, three: tuple, flag: bool, share: np.float32, count: int, out: np.ndarray
) -> None:
    """Every kind of argument, and where it was seen."""
    values, factor = pair
    for y in range(values.shape[0]):
        for x in range(values.shape[1]):
            out[0] += factor * values[y, x] * (1 + y + 10 * x)
    out[1] = three[0] + 10 * three[1] + 100 * three[2].size
    out[2] = 1 if flag else 2
    out[3] = share
    out[4] = count


def run_plainly(function, *arguments):
    """As Python does it, into a new array."""
    out = np.zeros(5)
    function(*arguments, out)
    return out


@pytest.fixture
def nowhere(monkeypatch, tmp_path):
    """Code is kept where nothing is found."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    return tmp_path


def windows():
    whole = np.arange(1.0, 25.0).reshape(4, 6)
    yield "as it is", whole
    yield "a part", whole[1:3, 2:5]
    yield "every other", whole[::2, ::-2]
    yield "turned", whole.T
    yield "none", whole[:0]
    frozen = whole.copy()
    frozen.flags.writeable = False
    yield "frozen", frozen
    buffer = np.zeros(24 * 8 + 3, np.uint8)
    odd = buffer[3:].view(np.float64).reshape(4, 6)
    odd[:] = whole
    yield "not aligned", odd
    for dtype in (np.uint8, np.uint16, np.int64, np.float32):
        yield dtype.__name__, whole.astype(dtype)


@pytest.mark.parametrize("values", [pytest.param(one, id=name) for name, one in windows()])
def test_kernels_see_their_arguments_as_python_does(nowhere, values):
    for scalars in ((True, np.float32(0.1), -(2**40)), (False, np.float32(-1e30), 7)):
        arguments = Pair(values, 0.1), (3, 0.5, np.empty(7, np.uint8)), *scalars
        expected = run_plainly(gather.function, *arguments)
        np.testing.assert_allclose(run_plainly(gather, *arguments), expected, rtol=1e-6)
        held = compiled.bound(gather, *arguments[:2])
        for _ in range(2):
            found = run_plainly(held, *arguments[2:])
            np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_code_that_needs_numba_is_not_kept(nowhere, monkeypatch):
    """As one that makes an array does, for which memory has to be asked of Numba."""
    monkeypatch.setattr(compiler, "_OPTIONS", {"error_model": "numpy"})
    monkeypatch.setattr(compiled.kernels, "UNKEPT", [])

    made = compiled.kernel(twice_by_an_array)
    out = np.zeros(4)
    made(np.arange(4.0), out)
    assert out.tolist() == [0, 2, 4, 6]
    assert [made.name] == compiled.kernels.UNKEPT
    assert not list(nowhere.iterdir())


def twice_by_an_array(values, out):
    room = np.empty(values.size)
    for i in range(values.size):
        room[i] = 2 * values[i]
    for i in range(values.size):
        out[i] = room[values.size - 1 - i] if out[0] else room[i]


def test_machine_code_that_lacks_something_is_refused_where_it_is_linked(nowhere):
    """A process that linked it all the same would end with the call of what is not there."""
    kinds, words = [], []
    kernels.describe((np.zeros(4),), kinds, words)
    code = compiler.machine_code(clear, tuple(kinds))
    machine.runner(code, words)
    assert b"memset" in code.content
    with pytest.raises(RuntimeError):
        machine.runner(machine.Code(code.symbol, code.content.replace(b"memset", b"memsot")), words)


def clear(values):
    for i in range(values.size):
        values[i] = 0
