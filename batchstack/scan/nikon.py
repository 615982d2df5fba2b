"""Nikon's place in a focus shift, as far as an installed ExifTool can tell it.

It stands in a block that is encrypted with the body's number and its count of shutter releases.
ExifTool (https://exiftool.org/TagNames/Nikon.html, table SeqInfoZ9) reads it of the Z 8 and Z 9;
of other bodies no program is known to.
"""

import json
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from batchstack.scan.makers import SeriesFacts
from batchstack.scan.shots import Shot

_TAG = "FocusShiftShooting"  # 0, or the number of the frame
_SECONDS = 600


def is_nikon(shot: Shot) -> bool:
    """Whether a photograph is of a Nikon."""
    return bool(shot.body) and shot.body[0].upper().startswith("NIKON")


def focus_shifts(paths: Sequence[Path]) -> Mapping[Path, SeriesFacts]:
    """What ExifTool says of photographs; nothing where it is not installed or knows nothing.

    Parameters
    ----------
    paths : sequence of Path
        Absolute.
    """
    named = [path for path in paths if "\n" not in str(path)]
    if not named:
        return {}
    try:
        said = subprocess.run(
            [
                "exiftool",
                "-json",
                "-n",
                "-fast",
                f"-{_TAG}",
                "-charset",
                "filename=utf8",
                "-@",
                "-",
            ],
            input="\n".join(map(str, named)).encode(),
            capture_output=True,
            timeout=_SECONDS,
            check=False,  # it also says so of files that it cannot read
        ).stdout
        found = {entry["SourceFile"]: entry.get(_TAG) for entry in json.loads(said)}
    except (OSError, subprocess.TimeoutExpired, ValueError, TypeError, KeyError):
        return {}
    numbers = {path: found.get(str(path)) for path in named}
    return {path: _facts(number) for path, number in numbers.items() if isinstance(number, int)}


def _facts(number: int) -> SeriesFacts:
    # A focus shift begins at the nearest plane and goes towards infinity.
    return SeriesFacts(True, number, nearer=False) if number > 0 else SeriesFacts(False)
