"""Which files are frames by their names: outputs are none, and what a folder holds."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path

from batchstack import files
from batchstack.batch.manifest_patterns import same_name
from batchstack.errors import ManifestError
from batchstack.formats import FORMATS, either

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


def in_natural_order(names: Iterable[str]) -> list[str]:
    """Names as people count: `f2.tif` before `f10.tif`."""
    from natsort import natsorted, ns

    return list(natsorted(names, alg=ns.PATH))


def frames_in(folder: Path) -> list[str]:
    """Names of the image files in a folder that is one stack, in natural order.

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
    images = [
        name
        for name, is_folder in content
        if not is_folder and not name.startswith(".") and Path(name).suffix.lower() in _FORMAT_OF
    ]
    found = in_natural_order(frames_among(images))
    labels = sorted({_FORMAT_OF[Path(name).suffix.lower()].label for name in found})
    if len(labels) > 1:
        raise ManifestError(
            f"{str(folder)!r} holds {' and '.join(labels)} files; name those of one format, such "
            f"as '{folder}/*{Path(found[0]).suffix}'"
        )
    if len(found) < 2:
        wanted = either(row.label for row in FORMATS.values())
        count = f"only one image, {found[0]!r}" if found else f"no {wanted} files"
        raise ManifestError(f"{str(folder)!r} holds {count}; a stack needs two or more frames")
    return found
