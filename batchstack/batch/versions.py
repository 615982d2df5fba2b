"""What must agree between the client and the workers: the program and what pixels depend on."""

import hashlib
import platform
from functools import cache
from pathlib import Path

import batchstack
from batchstack import files

# What computes, decodes or encodes pixels.
_PACKAGES = ("numpy", "opencv-python-headless", "numba", "scipy", "imagecodecs", "simplejpeg")


@cache
def versions() -> tuple[tuple[str, str], ...]:
    """Names and versions; that of the program is followed by a digest of its sources."""
    found = [("batchstack", f"{batchstack.__version__} ({_sources()})")]
    found += [(name, _version(name)) for name in _PACKAGES]
    return (*found, ("python", ".".join(platform.python_version_tuple()[:2])))


def version_fault(wanted: tuple[tuple[str, str], ...]) -> str | None:
    """Why this process does not run what another does, or None.

    Parameters
    ----------
    wanted : tuple of (str, str)
        The `versions` of the other.
    """
    here = dict(versions()) if wanted else {}
    for name, version in wanted:
        if here.get(name) != version:
            return (
                f"it has {name} {here.get(name)}, the client has {version}; "
                "install the same on both"
            )
    return None


def _version(package: str) -> str:
    from importlib import metadata  # which takes longer to load than all that is here

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "missing"


def _sources() -> str:
    top = Path(batchstack.__file__).parent
    digest = hashlib.sha256()
    for name in files.matching("**/*.py", top):
        digest.update(name.encode() + b"\0" + files.read_bytes(top / name))
    return digest.hexdigest()[:12]
