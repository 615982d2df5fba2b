"""The one room through which the program touches files.

Each call to the file system is one method of `calls.System`, so that a test can put another in
its place and make any one of them fail; all else here is made of them.
An `OSError` becomes a `FileError` that keeps the system's own words, because a failing disk,
a full one and a missing permission have other remedies than a damaged image.

A file that is made here appears under its name whole or not at all, and with its data on the
disk: a machine may lose its power at any moment.
"""

from batchstack.files import calls
from batchstack.files.calls import System, failure, told
from batchstack.files.lines import LineFile
from batchstack.files.reading import (
    entries,
    in_memory,
    is_file,
    is_folder,
    is_link,
    is_strange,
    matching,
    memory_of,
    names_in,
    open_to_read,
    random_access,
    read_bytes,
    read_file,
    size_of,
    status,
)
from batchstack.files.removing import remove, remove_empty, remove_parts, remove_tree
from batchstack.files.writing import (
    Behind,
    at_once,
    let_go,
    make_folder,
    only_one,
    part_file,
    part_name,
    replace_file,
    sync_file,
    sync_names,
    tell_system,
)

__all__ = [
    "Behind",
    "LineFile",
    "System",
    "at_once",
    "calls",
    "entries",
    "failure",
    "in_memory",
    "is_file",
    "is_folder",
    "is_link",
    "is_strange",
    "let_go",
    "make_folder",
    "matching",
    "memory_of",
    "names_in",
    "only_one",
    "open_to_read",
    "part_file",
    "part_name",
    "random_access",
    "read_bytes",
    "read_file",
    "remove",
    "remove_empty",
    "remove_parts",
    "remove_tree",
    "replace_file",
    "size_of",
    "status",
    "sync_file",
    "sync_names",
    "tell_system",
    "told",
]
