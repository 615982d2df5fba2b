"""Working memory that is kept from tile to tile and from stack to stack."""

from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

Planes = npt.NDArray[np.float32]
Bytes = npt.NDArray[np.uint8]

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
        key = name, shape, dtype
        view = self._views.get(key)
        if view is None:
            view = self._views[key] = self._view(name, shape, np.dtype(dtype))
        return view

    def _view(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        size = prod(shape) * dtype.itemsize
        held = self._held.get(name)
        if held is None or held.size < size:
            held = self._held[name] = np.empty(size, np.uint8)
            self._views.clear()  # those of what was held before would keep it
        if len(self._views) >= _VIEWS:
            self._views.clear()
        return held[:size].view(dtype).reshape(shape)
