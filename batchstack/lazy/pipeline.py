"""Fusing Dask arrays: which stacks there are in an array, and what becomes of their outputs."""

from collections.abc import Iterable, Mapping
from typing import Any

from dask import array as da
from dask.base import tokenize

from batchstack.errors import StackError
from batchstack.fusion.codes import DATA_RANGES
from batchstack.fusion.methods import select_methods
from batchstack.lazy.graph import fuse_stack
from batchstack.lazy.tasks import Job
from batchstack.options import FusionOptions


def fuse_dask(
    array: Any,
    methods: Iterable[str] = ("all",),
    options: FusionOptions | None = None,
    *,
    together: bool = False,
    tile: int | None = None,
) -> dict[str, Any]:
    """Fuse the stacks of a Dask array, lazily, into images that are sharp throughout.

    Nothing is read or computed before an output is.
    Outputs have exactly the pixels that `fuse` gives for the same frames.
    No task holds a plane: one that fuses a tile holds a window of it, of all Z frames, and one that
    settles the decision map a strip of it.

    Parameters
    ----------
    array : dask.array.Array, shape (T, C, Z, Y, X), (C, Z, Y, X) or (Z, Y, X)
        Z from back (focused far) to front (focused near); uint8, uint16 or float32.
        It is computed once, or for methods that look up the decision map, such as "bayesian",
        twice and some of it three times, because what was read is not kept until the map is
        settled: load from a store, or persist what is costly to compute.
        Chunks of the tiles' size, with one time and one channel, keep least in memory.
    methods : iterable of str
        Keys of `METHODS`, or "all"; all that are asked for are computed together.
    options : FusionOptions, optional
        With a `map_level` and a `shrink`, no frame is read to find them out.
    together : bool
        Whether the channels of a frame are one image, as in a colour photograph; by default each
        channel is a stack of its own.
    tile : int, optional
        Side of the tiles in pixels, by default 1024; tiles are the chunks of the outputs.  It
        changes memory and speed, never the result.

    Returns
    -------
    dict of str to dask.array.Array
        Output name to array of the same axes without Z.  Maps have one channel if channels are
        fused together.  Compute or store several at once (`dask.compute`, `dask.array.store`), or
        what they share is computed for each.

    Raises
    ------
    StackError
        If the axes, the type or the number of frames do not fit.
    OptionError
        If a method is unknown.

    Examples
    --------
    >>> import dask.array as da
    >>> import batchstack
    >>> array = da.zeros((2, 3, 5, 300, 400), dtype="uint16", chunks=(1, 1, 5, 256, 256))
    >>> fused = batchstack.fuse_dask(array, ["all_channels"], tile=256)
    >>> fused["focus_stacked_all_channels"]
    dask.array<...shape=(2, 3, 300, 400), dtype=uint16, chunksize=(1, 1, 256, 256)...>
    """
    array = da.asarray(array)
    _check(array)
    missing = 5 - array.ndim
    stacks = array[(None,) * missing]
    names = tuple(method.name for method in select_methods(methods))
    token = tokenize(stacks, names, options, together, tile)
    count, channels = stacks.shape[:2]

    shape, dtype = stacks.shape[-2:], stacks.dtype.newbyteorder("=")
    form = channels if together else None
    job = Job(stacks.shape[2], form, dtype, shape, names, options or FusionOptions())

    def fused(time: int, channel: slice) -> Mapping[str, Any]:
        name = f"{token}-{time}-{channel.start}"
        return fuse_stack(stacks[time, channel], job, tile, name)

    apart = [slice(0, channels)] if together else [slice(n, n + 1) for n in range(channels)]
    parts = [[fused(time, channel) for channel in apart] for time in range(count)]
    return {
        output: da.stack([da.concatenate([one[output] for one in row]) for row in parts])[
            (0,) * missing
        ]
        for output in parts[0][0]
    }


def _check(array: Any) -> None:
    if array.ndim not in (3, 4, 5):
        raise StackError(
            f"the array has {array.ndim} axes; give (T, C, Z, Y, X), (C, Z, Y, X) or (Z, Y, X)"
        )
    if any(side != side for side in array.shape):  # NaN
        raise StackError("the array has chunks of unknown size; call its compute_chunk_sizes")
    if array.dtype.name not in DATA_RANGES:
        raise StackError(f"the array is {array.dtype}; convert it to uint8, uint16 or float32")
    if 0 in array.shape:
        raise StackError(f"the array has shape {array.shape}; give no axis of 0")
    if array.shape[-3] < 2:
        raise StackError(
            "a stack needs two or more frames, not 1: Z is the third axis from the end"
        )
