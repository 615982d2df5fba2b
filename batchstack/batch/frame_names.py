"""Which files are frames by their names: outputs are none, and what a folder holds."""

from collections import Counter
from collections.abc import Iterable
from functools import cache
from pathlib import Path

from batchstack import files
from batchstack.batch.manifest_patterns import same_name
from batchstack.errors import ManifestError
from batchstack.formats import FORMATS, either, foreign_of_suffix
from batchstack.images.names import as_counted, in_natural_order

_FORMAT_OF = {suffix: row for row in FORMATS.values() for suffix in row.suffixes}


def is_output_file(name: str) -> bool:
    """Whether a name is one that methods give to files in the folder of a stack."""
    return same_name(name).rpartition(".")[0] in _outputs()


def is_named_as_output(path: str) -> bool:
    """Whether a file is named like an output, also with the stack before it (`a_depth_map.png`)."""
    name = path.rpartition("/")[2]
    return same_name(name).rpartition(".")[0].endswith(_outputs())


@cache
def _outputs() -> tuple[str, ...]:
    """The names of the files that methods write, without ending."""
    from batchstack.fusion.methods import METHODS

    return tuple(name for method in METHODS.values() for name in method.outputs)


def frames_among(names: Iterable[str]) -> list[str]:
    """Names that are not those of outputs, sorted: some may lie beside the frames."""
    return sorted(name for name in names if not is_named_as_output(name))


def _not_read(names: Iterable[str]) -> str:
    """What to do with the pictures among names that are of the kind most of them are."""
    known = [(name, foreign_of_suffix(Path(name).suffix)) for name in in_natural_order(names)]
    kinds = Counter(row for _, row in known if row)
    if not kinds:
        return ""
    ((kind, count),) = kinds.most_common(1)
    first = next(name for name, row in known if row == kind)
    are = "is one" if count == 1 else f"are {count}"
    return f"there {are} of {kind.label}, {first!r}, which is not read; {kind.remedy}"


def frames_in(folder: Path) -> list[str]:
    """Names of the image files in a folder that is one stack, as cameras count.

    Hidden files, folders, outputs and what is no image are left out.

    Raises
    ------
    ManifestError
        If the folder cannot be read, or holds less than two images or more than one format.
    """
    try:
        content = files.entries(folder)
    except OSError as error:
        raise ManifestError(f"{str(folder)!r} cannot be read: {error.strerror}") from error
    names = [name for name, is_folder in content if not is_folder and not name.startswith(".")]
    images = [name for name in names if Path(name).suffix.lower() in _FORMAT_OF]
    found = as_counted(frames_among(images))
    labels = sorted({_FORMAT_OF[Path(name).suffix.lower()].label for name in found})
    if len(labels) > 1:
        raise ManifestError(
            f"{str(folder)!r} holds {' and '.join(labels)} files; name those of one format, such "
            f"as '{folder}/*{Path(found[0]).suffix}'"
        )
    if len(found) < 2:
        wanted = either(row.label for row in FORMATS.values())
        count = f"only one image, {found[0]!r}" if found else f"no {wanted} files"
        if others := _not_read(names):
            raise ManifestError(f"{str(folder)!r} holds {count}, but {others}")
        raise ManifestError(f"{str(folder)!r} holds {count}; a stack needs two or more frames")
    return found
