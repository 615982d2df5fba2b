"""Working memory that is kept from tile to tile and from stack to stack."""

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from batchstack.pages import new_pages

Planes = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]
New = Callable[[int], Bytes]

_VIEWS = 1000  # that are remembered; stacks of one size need a few hundred


class Scratch:
    """Working arrays that are used again: for every tile, and for the next stack."""

    def __init__(self) -> None:
        self._held: dict[str, Bytes] = {}  # their bytes
        self._views: dict[tuple[Any, ...], npt.NDArray[Any]] = {}

    def planes(self, name: str, *shape: int) -> Planes:
        """The float32 array of that name, of any content."""
        return self.array(name, shape, np.float32)

    def array(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The array of that name, of any content."""
        return self._array(name, shape, dtype, new_pages)

    def room(self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        """The same, if only a part of it may be used."""
        return self._array(name, shape, dtype, _untouched)

    def _array(
        self, name: str, shape: tuple[int, ...], dtype: npt.DTypeLike, new: New
    ) -> npt.NDArray[Any]:
        key = name, shape, dtype
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._view(name, shape, np.dtype(dtype), new)
        return view

    def _view(
        self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any], new: New
    ) -> npt.NDArray[Any]:
        size = prod(shape) * dtype.itemsize
        held = self._held.get(name)
        if held is None or held.size < size:
            self._held.pop(name, None)  # given back before more is taken
            held = self._held[name] = new(size)
            self._views.clear()  # those of what was held before would keep it
        if len(self._views) >= _VIEWS:
            self._views.clear()
        return held[:size].view(dtype).reshape(shape)


def _untouched(size: int) -> Bytes:
    return np.empty(size, np.uint8)
