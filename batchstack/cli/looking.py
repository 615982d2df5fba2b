"""Frames that are unlike the others of their stack, by what they show."""

from collections.abc import Sequence
from concurrent.futures import Executor
from pathlib import Path

from batchstack.errors import BatchstackError
from batchstack.scan.looks import Look, look_at, odd_ones


def odd_frames(frames: Sequence[Path], pool: Executor) -> list[str]:
    """What is odd about the frames of a stack, each with the name of a file.

    Parameters
    ----------
    frames : sequence of Path
        In their order.
    pool : Executor
        Whose threads read them.
    """
    seen = list(pool.map(_look, frames))
    damaged = [told for told in seen if isinstance(told, str)]
    pairs = zip(frames, seen, strict=True)
    views = [(path, view) for path, view in pairs if isinstance(view, Look)]
    odd = odd_ones([view for _, view in views])
    unlike = [
        f"{views[n][0]}: {how}; leave it out unless it belongs there" for n, how in odd.items()
    ]
    return [*damaged, *sorted(unlike)]


def _look(path: Path) -> Look | str:
    try:
        return look_at(path)
    except BatchstackError as error:
        return str(error)
