"""Rooms import downwards only, and only one of them touches the file system."""

import ast
import re
from importlib.util import resolve_name
from pathlib import Path

import pytest

import batchstack

ROOT = Path(batchstack.__file__).parent
ARITHMETIC = {"errors", "options", "geometry", "pages"}
LEAVES = {*ARITHMETIC, "formats", "files"}
MAY_USE = {
    "errors": set(),
    "formats": set(),
    "options": {"options", "errors", "formats"},
    "geometry": set(),
    "pages": set(),
    "files": {"files", "errors"},
    "compiled": {"compiled"},
    "fusion": {"fusion", "compiled", *ARITHMETIC},
    "lazy": {"lazy", "fusion", *ARITHMETIC},
    "registration": {"registration", "compiled", *ARITHMETIC},
    "quality": {"quality", *ARITHMETIC},
    "scenes": {"scenes", "errors"},
    "images": {"images", *LEAVES},
    "batch": {"batch", "images", "fusion", "registration", "compiled", "quality", *LEAVES},
    "scan": {"scan", "images", "registration", *LEAVES},
    "report": {"report", "batch", "images", "fusion", *LEAVES},
    "cli": {"cli", "report", "batch", "scan", "images", "fusion", *LEAVES},
}
OF_FILES = {"dask", "distributed", "tifffile", "pathlib", "click", "os"}
NEVER = {
    **dict.fromkeys(("fusion", "registration", "quality", "scenes"), OF_FILES),
    "compiled": OF_FILES - {"pathlib", "os"},
    "lazy": OF_FILES - {"dask"},
    "images": {"dask", "distributed", "click"},
    "scan": {"dask", "distributed", "click"},
    "batch": {"click", "rich"},
    "report": {"dask", "distributed", "click", "rich", "cv2"},
    "cli": {"cv2", "numpy", "dask.array"},
}

# The modules of fusion from the bottom up: each imports from layers below its own.
LAYERS = (
    {"codes", "pyramid", "rules", "scratch", "streams", "kernels"},
    {"methods", "stack", "tiles", "kernels.pixels", "kernels.regions", "kernels.smoothing"},
    {"decision", "flows", "scale", "team"},
    {"strips", "kernels.cells", "kernels.measures", "kernels.pyramid", "kernels.weights"},
    {"footprint", "kernels.passes"},
    {"fusing"},
    {"engine"},
    {"__init__", "warm"},
)
LAYER = {module: number for number, layer in enumerate(LAYERS) for module in layer}

MOST_ARGUMENTS = 8
# What is compiled takes arrays one by one.
COMPILED = {"kernel", "routine", "inlined"}

# What touches it, by the last name of what is called.
CALLS = {
    *("chmod", "exists", "fromfile", "fsync", "glob", "hardlink_to", "imread", "imwrite"),
    *("is_dir", "is_file", "is_symlink", "iglob", "iterdir", "listdir", "lstat", "makedirs"),
    *("memmap", "mkdir", "open", "open_memmap", "read_bytes", "read_text", "rename", "rglob"),
    *("rmdir", "rmtree", "samefile", "save", "savetxt", "savez", "scandir", "stat"),
    *("symlink_to", "tofile", "touch", "truncate", "unlink", "write_bytes", "write_text"),
}
NUMPY_CALLS = {"load", "loadtxt", "genfromtxt"}
# What opens a path that it is given, unless it is given a file, which is called so.
OPENERS = {"JpegImageFile", "PngImageFile", "TiffFile", "TiffWriter", "ZipFile", "FileIO"}
MODULES = {"fcntl", "filelock", "fileinput", "glob", "mmap", "shutil", "tempfile"}
OF_OS = {"os.environ", "os.getpid", "os.cpu_count", "os.sched_getaffinity", "os.strerror"}
OF_OS |= {"os.path", "os.fsdecode", "os.fsencode", "os.stat_result"}
# Of os.path, what only looks at the text.
OF_PATH = {"basename", "dirname", "expanduser", "join", "normpath", "samestat", "split"}


def modules():
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        if room in MAY_USE:
            yield pytest.param(path, room, id=str(path.relative_to(ROOT)))


# --- imports

# A module of the program, as it stands in text: after -m or in code, for example.
IN_TEXT = re.compile(r"(?<![\w./@-])batchstack(?:\.\w+)+")
LOADERS = {"__import__", "import_module", "find_spec", "run_module", "resolve_name"}


def imports(source, package):
    """Every name that a source imports, however it does so, as module.name.

    Parameters
    ----------
    source : str
    package : str
        The one that its module is in.
    """
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = resolve_name("." * node.level + (node.module or ""), package)
            yield from (f"{module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Call) and last_name(node.func) in LOADERS:
            yield loaded(node, package)
    for text in texts(tree):
        yield from IN_TEXT.findall(text)


def last_name(function):
    return ast.unparse(function).rpartition(".")[2]


def loaded(call, package):
    """What a call loads by its name; `?` if that is not written there."""
    name = call.args[0] if call.args else None
    if isinstance(name, ast.JoinedStr):
        name = name.values[0]
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str):
        return "?"
    return resolve_name(name.value, package)


def texts(tree):
    """All texts of a source but its docstrings, which may speak of what they like."""
    spoken = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield from [node.value] if id(node) not in spoken else []


def trespasses(source, room, package):
    """The imports of a source that its room may not have."""
    for name in imports(source, package):
        first, _, rest = name.partition(".")
        if first == "batchstack":
            # The package itself has its version, and may have what any room has.
            if rest.partition(".")[0] not in {"", "__version__", *MAY_USE[room]}:
                yield name
        elif first == "?" or any(f"{name}.".startswith(f"{no}.") for no in NEVER.get(room, ())):
            yield name


def package_of(path):
    return ".".join(["batchstack", *path.relative_to(ROOT).parent.parts])


@pytest.mark.parametrize(("path", "room"), list(modules()))
def test_imports_point_downwards(path, room):
    assert list(trespasses(path.read_text(), room, package_of(path))) == []


@pytest.mark.parametrize(
    "line",
    [
        "import batchstack.batch.plan",
        "from batchstack import batch",
        "from batchstack import errors, files",
        "from batchstack.images import read_image",
        "from batchstack import run",
        "from .. import images",
        "from ..batch import plan",
        "from ..batch.plan import Step",
        "def later():\n    from batchstack.cli import main",
        "importlib.import_module('batchstack.batch')",
        "importlib.import_module(f'batchstack.batch.{name}')",
        "importlib.import_module('..batch', __package__)",
        "import_module(name)",
        "__import__('batchstack.files')",
        "subprocess.run([sys.executable, '-m', 'batchstack.cli.main'])",
        "subprocess.run(['python', '-c', 'from batchstack.batch import plan'])",
        "preload = ['batchstack.batch.preload']",
        "sys.modules['batchstack.files']",
        "import os",
        "import os.path",
        "from os import path",
        "from distributed.client import Client",
        "__import__('dask')",
        "import_module('dask.array')",
    ],
)
def test_an_import_that_points_upwards_is_seen(line):
    assert list(trespasses(line, "fusion", "batchstack.fusion"))


@pytest.mark.parametrize(
    "line",
    [
        "import batchstack",
        "from batchstack import __version__, errors",
        "from batchstack.compiled import kernel",
        "from . import rules",
        "from .rules import Weights",
        "from .. import options",
        "from ..geometry import Box",
        "importlib.import_module('batchstack.fusion.warm')",
        "import_module('numba.core.types')",
        "__import__('numpy')",
        "'the folder .batchstack/journal.jsonl'",
        "def f():\n    'As batchstack.batch does.'",
        "import osmosis",
        "name = 'dask'",
    ],
)
def test_an_import_that_points_downwards_is_left_alone(line):
    assert list(trespasses(line, "fusion", "batchstack.fusion")) == []


def layer_faults(source, module, package):
    """What a module of fusion imports of fusion that is not below it."""
    for name in imports(source, package):
        if name == "batchstack.fusion" or name.startswith("batchstack.fusion."):
            parts = name.split(".")[2:]
            known = (".".join(parts[:end]) for end in range(len(parts), 0, -1))
            # What is no module is a name of the package's own.
            if LAYER[next((part for part in known if part in LAYER), "__init__")] >= LAYER[module]:
                yield name


def modules_of_fusion():
    for path in sorted((ROOT / "fusion").rglob("*.py")):
        parts = path.relative_to(ROOT / "fusion").with_suffix("").parts
        module = ".".join(parts if parts[-1] != "__init__" else parts[:-1]) or "__init__"
        yield pytest.param(path, module, id=module)


@pytest.mark.parametrize(("path", "module"), list(modules_of_fusion()))
def test_modules_of_fusion_import_from_layers_below(path, module):
    assert list(layer_faults(path.read_text(), module, package_of(path))) == []


def test_layers_have_the_modules_of_fusion_and_no_others():
    assert sorted(module.values[1] for module in modules_of_fusion()) == sorted(LAYER)


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("methods", "from batchstack.fusion.engine import fuse"),
        ("methods", "from batchstack.fusion import fuse"),
        ("methods", "from batchstack.fusion import flows"),
        ("methods", "from batchstack.fusion import tiles"),  # beside it, not below
        ("methods", "import batchstack.fusion.engine"),
        ("methods", "import batchstack.fusion"),
        ("methods", "from . import METHODS"),
        ("methods", "from .fusing import Fusion"),
        ("methods", "import_module('batchstack.fusion.engine')"),
        ("methods", "import_module('.engine', __package__)"),
        ("kernels.smoothing", "from batchstack.fusion.kernels import passes"),
        ("kernels.passes", "from batchstack.fusion.fusing import Fusion"),
    ],
)
def test_an_import_of_a_layer_above_is_seen(module, line):
    assert list(layer_faults(line, module, "batchstack.fusion"))


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("engine", "from batchstack.fusion.tiles import Box"),
        ("fusing", "from batchstack.fusion.kernels import passes, smoothing"),
        ("fusing", "from batchstack.fusion import flows"),
        ("kernels.passes", "from batchstack.fusion.kernels.measures import measure"),
        ("codes", "from batchstack.options import FusionOptions"),
        ("codes", "from batchstack.fusionless import fuse"),
    ],
)
def test_an_import_of_a_layer_below_is_left_alone(module, line):
    assert list(layer_faults(line, module, "batchstack.fusion")) == []


def first_column(heading):
    """What stands in the first column of a table of docs/architecture.md."""
    text = (ROOT.parent / "docs" / "architecture.md").read_text()
    table = text[text.index(heading) :].partition("\n\n")[0]
    return [line.split("|")[1].strip(" `") for line in table.splitlines()[2:]]


def test_the_page_on_the_architecture_has_every_room():
    rooms = {path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()}
    assert set(first_column("| room |")) == rooms


def test_the_page_on_the_architecture_opens_with_few_words():
    words = first_column("| word |")
    assert 0 < len(words) == len(set(words)) <= 15


def test_every_module_is_in_a_room():
    top = {path.name.removesuffix(".py") for path in ROOT.iterdir() if path.name != "__pycache__"}
    assert top - {"__init__", "__main__", "py.typed"} == set(MAY_USE)


# --- arguments


def crowded(source):
    """Functions that take more arguments than a reader keeps apart, with their number."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            if COMPILED & {last_name(mark) for mark in node.decorator_list}:
                continue
            taken = arguments(node.args)
            if len(taken) > MOST_ARGUMENTS:
                yield node.name, len(taken)
        elif isinstance(node, ast.Lambda) and len(arguments(node.args)) > MOST_ARGUMENTS:
            yield "lambda", len(arguments(node.args))


def arguments(signature):
    named = [*signature.posonlyargs, *signature.args]
    if named and named[0].arg in ("self", "cls"):
        named = named[1:]
    return [*named, *signature.kwonlyargs, *filter(None, (signature.vararg, signature.kwarg))]


@pytest.mark.parametrize(("path", "room"), list(modules()))
def test_what_travels_together_is_one_value(path, room):
    assert not list(crowded(path.read_text()))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b, c, d, e, f, g, h, i): ...",
        "async def f(a, b, c, d, e, f, g, h, i): ...",
        "def f(a, b, /, c, d, *, e, f, g, h, i): ...",
        "def f(a, b, c, d, e, f, g, *more, **options): ...",
        "class A:\n    def f(self, a, b, c, d, e, f, g, h, i): ...",
        "def outer():\n    def f(a, b, c, d, e, f, g, h, i): ...",
        "f = lambda a, b, c, d, e, f, g, h, i: a",
        "@cache\ndef f(a, b, c, d, e, f, g, h, i): ...",
    ],
)
def test_a_function_of_nine_arguments_is_seen(source):
    assert list(crowded(source))


@pytest.mark.parametrize(
    "source",
    [
        "def f(a, b, c, d, e, f, g, h): ...",
        "class A:\n    def f(self, a, b, c, d, e, f, g, h): ...",
        "@kernel\ndef f(a, b, c, d, e, f, g, h, i): ...",
        "@compiled.kernel\ndef f(a, b, c, d, e, f, g, h, i): ...",
        "def f(): g(1, 2, 3, 4, 5, 6, 7, 8, 9)",
    ],
)
def test_a_function_of_eight_arguments_is_left_alone(source):
    assert list(crowded(source)) == []


# --- the file system


def touches(source):
    """What in a source touches the file system without the room for files, as text."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module in MODULES | {"os"}:
            yield node.module
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os":
            if ast.unparse(node) not in OF_OS:
                yield ast.unparse(node)
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "os.path":
            if node.attr not in OF_PATH:
                yield ast.unparse(node)
        elif isinstance(node, ast.Call) and touching(node):
            yield ast.unparse(node)


def touching(call):
    owner, _, name = ast.unparse(call.func).rpartition(".")
    if owner == "files":
        return False
    if name in OPENERS:
        return not call.args or ast.unparse(call.args[0]) != "file"
    if name == "replace" and owner:  # of a text it takes two, `dataclasses.replace` has no owner
        return len(call.args) == 1 and not call.keywords
    return name in CALLS or (owner in ("np", "numpy") and name in NUMPY_CALLS)


@pytest.mark.parametrize(("path", "room"), list(modules()))
def test_only_one_room_touches_the_file_system(path, room):
    # Machine code is kept beside the package, and never among what a run reads and writes; pages
    # map no file.
    if room == "files" or path.name in ("kept.py", "pages.py"):
        return
    assert list(touches(path.read_text())) == []


@pytest.mark.parametrize(
    "line",
    [
        "open(path)",
        "path.open('rb')",
        "Path(name).stat()",
        "part.replace(path)",
        "path.unlink(missing_ok=True)",
        "os.replace(a, b)",
        "status = os.fstat",
        "from os import replace",
        "import shutil",
        "np.load(path, mmap_mode='r')",
        "pixels.tofile(file)",
        "np.memmap(path)",
        "Image.open(path)",
        "TiffFile(path)",
        "TiffWriter(str(part), bigtiff=True)",
        "cv2.imwrite(name, pixels)",
        "list(folder.glob('*.tif'))",
    ],
)
def test_what_touches_the_file_system_is_seen(line):
    assert list(touches(line))


@pytest.mark.parametrize(
    "line",
    [
        "files.open_to_read(path)",
        "files.remove(path)",
        "text.replace('a', 'b')",
        "replace(info, size=3)",
        "order.newbyteorder('<').replace('<', '>')",
        "TiffFile(file, name=path.name)",
        "TiffWriter(file)",
        "json.load(file)",
        "file.read()",
        "os.environ.get('HOME')",
        "np.loadable()",
        "path.with_suffix('.npy').name",
    ],
)
def test_what_does_not_is_left_alone(line):
    assert not list(touches(line))
