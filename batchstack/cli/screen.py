"""What the program says to people: on stderr, and never at the cost of the work."""

import io
import sys
from typing import Any

import click


class _BestEffort(io.TextIOBase):
    """A stream whose reader may go away: what it cannot take is dropped."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def isatty(self) -> bool:
        return self._try("isatty") is True

    def fileno(self) -> int:
        number: int = self._stream.fileno()
        return number

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return getattr(self._stream, "encoding", None) or "utf-8"

    def write(self, text: str) -> int:
        self._try("write", text)
        return len(text)

    def flush(self) -> None:
        self._try("flush")

    def close(self) -> None:
        """Leave the stream open: it is not ours."""

    def _try(self, method: str, *arguments: Any) -> Any:
        try:
            return getattr(self._stream, method)(*arguments)
        except (OSError, ValueError, AttributeError):
            # The terminal was closed, the log's disk is full, or there is no stream at all.
            return None


def protect() -> None:
    """Let messages be best effort: whoever writes them, to a closed stderr or a full disk."""
    if not isinstance(sys.stderr, _BestEffort):
        sys.stderr = _BestEffort(sys.stderr)


def say(text: str) -> None:
    """One message, as it is; a bar that is shown makes room for it."""
    tqdm = sys.modules.get("tqdm")
    if tqdm:
        tqdm.tqdm.write(text, file=sys.stderr)
    else:
        click.echo(text, err=True)


def tell(text: str) -> None:
    """One message that says who speaks."""
    say(f"batchstack: {text}")
