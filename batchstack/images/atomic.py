"""Files that appear under their name whole or not at all."""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from batchstack.errors import BatchstackError, ImageError


@contextmanager
def part_file(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` and rename the file written there at the end.

    Whatever fails in between, the temporary file is removed and `path` keeps what it
    held. A killed process leaves at most a hidden `.<name>.<unique>.part`.

    Parameters
    ----------
    path : Path
        The final name; its folder is created.

    Raises
    ------
    ImageError
        In place of every `OSError`, such as a full disk.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(6)}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield part
        part.replace(path)
    except BatchstackError:
        raise
    except OSError as error:
        # NumPy's own writing gives no system error when the disk takes only a part.
        reason = error.strerror or f"only a part could be written ({error})"
        raise ImageError(
            f"{path}: cannot be written: {reason}; nothing is left under this name that was "
            "not there before, make room or choose another folder and run again"
        ) from error
    finally:
        with suppress(OSError):  # the first error matters, not one of cleaning up
            part.unlink(missing_ok=True)
