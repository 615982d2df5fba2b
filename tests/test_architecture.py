"""Rooms import downwards only, and only one of them touches the file system."""

import ast
from pathlib import Path

import pytest

import batchstack

ROOT = Path(batchstack.__file__).parent
MAY_USE = {
    "errors": set(),
    "options": {"options", "errors"},
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
    # What is kept of kernels is stamped with the sources of the package itself.
    if room == "files" or path.name == "kept.py":
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
