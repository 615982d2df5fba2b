"""Reading a Dask array in turns, so that Dask never holds all of it.

Dask computes a chunk once, keeps it until all tasks have it that need it, and may compute all
chunks before anything else.
So each turn reads chunks under names of its own, when the turn before the last is over; what
several turns need is computed in each of them.
(`dask.graph_manipulation.bind` is made for this, but leaves most names as they are.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import accumulate, pairwise, product
from typing import Any

from dask._task_spec import DataNode, Task, TaskRef, convert_legacy_graph
from dask.base import clone_key
from dask.core import flatten

from batchstack.geometry import Box
from batchstack.lazy.tasks import cut, nothing
from batchstack.lazy.windows import Place

Key = Any
Graph = dict[Any, Any]

# Turns that may go on at once.
_AT_ONCE = 2


@dataclass(frozen=True)
class Cuts:
    """Windows of an array: the keys of their pieces, and where these lie."""

    places: Sequence[Place]
    keys: Sequence[Key]


class Source:
    """An array of shape (C, Z, Y, X), and the tasks that compute it.

    Attributes
    ----------
    kept : dict
        What is there already, such as arrays in memory and what was persisted, and goes by its
        own name.
    """

    def __init__(self, array: Any) -> None:
        self._name, self._chunks = array.name, array.chunks
        graph = array.dask.cull(set(flatten(array.__dask_keys__()))).to_dict()
        nodes = convert_legacy_graph(graph)
        self._tasks = {key: node for key, node in nodes.items() if not isinstance(node, DataNode)}
        self.kept: Graph = {key: graph[key] for key in graph if key not in self._tasks}

    def cut(self, graph: Graph, windows: Iterable[Box], key: Key) -> Cuts:
        """Add to a graph what cuts windows, for the task of a key, out of chunks."""
        places: list[Place] = []
        keys: list[Key] = []
        starts = [[0, *accumulate(sizes)] for sizes in self._chunks]
        for window in windows:
            rows = list(_overlaps(starts[2], window.top, window.bottom))
            columns = list(_overlaps(starts[3], window.left, window.right))
            channels, frames = (range(len(ends) - 1) for ends in starts[:2])
            for channel, frame, row, column in product(channels, frames, rows, columns):
                name = (f"cut-{key[0]}", *key[1:], len(keys))
                chunk = (self._name, channel, frame, row.chunk, column.chunk)
                graph[name] = (partial(cut, row.part, column.part), chunk)
                keys.append(name)
                corner = row.first, column.first
                places.append(Place(starts[0][channel], starts[1][frame], corner))
        return Cuts(places, keys)

    def renamed(self, graph: Graph, name: str, gate: Key | None) -> Graph:
        """A graph that uses chunks, with what computes them under names of its own.

        Parameters
        ----------
        graph : dict
        name : str
            What names are made different by.
        gate : tuple, optional
            The key of a task that is to be done before anything is computed.
        """
        nodes = convert_legacy_graph(graph, {*graph, *self._tasks})
        needed = self._needed(key for node in nodes.values() for key in node.dependencies)
        names = {key: clone_key(key, name) for key in needed}
        found: Graph = {key: node.substitute(names) for key, node in nodes.items()}
        for key, new in names.items():
            node = self._tasks[key].substitute(names, key=new)
            if gate is not None and isinstance(node, Task) and not node.dependencies - {*self.kept}:
                node = Task(new, _after, TaskRef(gate), node.func, *node.args, **node.kwargs)
            found[new] = node
        return found

    def _needed(self, keys: Iterable[Key]) -> set[Key]:
        """The tasks that compute chunks, and all that they need."""
        needed: set[Key] = set()
        left = list(keys)
        while left:
            key = left.pop()
            if key in self._tasks and key not in needed:
                needed.add(key)
                left += self._tasks[key].dependencies
        return needed


class Turns:
    """One reading of an array in turns.

    Parameters
    ----------
    source : Source
    graph : dict
        To which the turns are added.
    name : str
        Unique among all readings in the graph.
    after : tuple, optional
        Key of what is done before the first turns.
    """

    def __init__(self, source: Source, graph: Graph, name: str, after: Key | None = None) -> None:
        self._source, self._graph, self._name = source, graph, name
        self._gates = [after] * _AT_ONCE

    def take(self, windows: Mapping[Key, Iterable[Box]]) -> dict[Key, Cuts]:
        """The next turn: the windows that it reads, by the key of the task that is to have them."""
        cutting: Graph = {}
        cuts = {key: self._source.cut(cutting, boxes, key) for key, boxes in windows.items()}
        name = f"{self._name}-{len(self._gates)}"
        self._graph |= self._source.renamed(cutting, name, self.gate)
        return cuts

    @property
    def gate(self) -> Key | None:
        """The key of what is done before this turn begins."""
        return self._gates[len(self._gates) - _AT_ONCE]

    def end(self, keys: Iterable[Key]) -> None:
        """Say which tasks are the last of a turn."""
        number, over = len(self._gates), []
        for at, key in enumerate(keys):
            over.append((f"over-{self._name}", number, at))
            self._graph[over[-1]] = (nothing, key)  # where the key is, which is not moved
        gate = (f"gate-{self._name}", number)
        self._graph[gate] = (nothing, over)
        self._gates.append(gate)


def _after(gate: None, function: Any, *arguments: Any, **named: Any) -> Any:
    """Call a function once a gate is open."""
    return function(*arguments, **named)


@dataclass(frozen=True)
class _Overlap:
    """A chunk of an axis, the part of it that is wanted, and where that begins on the axis."""

    chunk: int
    part: slice
    first: int


def _overlaps(ends: Sequence[int], first: int, last: int) -> Iterator[_Overlap]:
    for chunk, (start, end) in enumerate(pairwise(ends)):
        begin, stop = max(start, first), min(end, last)
        if begin < stop:
            yield _Overlap(chunk, slice(begin - start, stop - start), begin)
