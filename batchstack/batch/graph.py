"""The Dask graph of a stack.

    one task:        do_stack
    tile by tile:    stage_frame x N -> find_range -> link_frames x (N - 1) -> align_frames
                     -> survey_one_tile x T -> settle_map
                     -> fuse_one_tile x T -> score_tiles, encode_output x outputs -> finish_stack

A stack that does not fit a worker goes tile by tile, and one that several threads share: that has
few and large tiles (`tasks.tiles_of`).
Linking is left out if frames are not to be aligned, surveying and settling if no method looks up
the decision map, scoring if no scores are asked for.

Arguments are paths and boxes, results small values; pixels pass through scratch.

A graph is a dictionary of keys to calls, as Dask's specification has it: made of `delayed` calls,
each would carry all that it waits for, which is a multiple of the tiles for each tile.
"""

from typing import Any

from dask.delayed import Delayed

from batchstack.batch import tasks
from batchstack.batch.jobs import Job
from batchstack.fusion.methods import METHODS
from batchstack.geometry import Box

# Between the name of a graph and that of a task, in the keys that Dask knows them by; no id
# of a stack has it.
SEPARATOR = "|"


def whole_graph(job: Job, name: str) -> Delayed:
    """One task; its value is the stack's `Result`.

    Parameters
    ----------
    job : Job
    name : str
        Unique among all graphs of the run; Dask's keys start with it.
    """
    graph = _Graph(name)
    return graph.value_of(graph.add("stack", tasks.do_stack, job))


def stack_graph(job: Job, name: str, *, shape: tuple[int, int], is_split: bool) -> Delayed:
    """The graph of a stack that fits a worker or does not, and is spread as its job says.

    Parameters
    ----------
    job, name, shape
        As for `split_graph`.
    is_split : bool
        Whether it does not fit a worker.
    """
    if is_split or job.spread:
        return split_graph(job, name, shape)
    return whole_graph(job, name)


def split_graph(job: Job, name: str, shape: tuple[int, int]) -> Delayed:
    """Tasks per frame, tile and output; its value is the stack's `Result`.

    Parameters
    ----------
    job : Job
    name : str
        Unique among all graphs of the run.
    shape : (int, int)
        Rows and columns of a frame.
    """
    graph = _Graph(name)
    staged: list[str] = []
    for index in range(len(job.frames)):
        # Resizing needs the first frame's size, so the others wait for it.
        after = staged[:1] if job.resize else []
        staged.append(graph.add(f"stage-{index}", tasks.stage_frame, job, index, after))
    decided = any(METHODS[method].decided for method in job.methods)
    white = graph.add("range", tasks.find_range, job, staged)
    linked: list[str] = []
    if job.is_linked:
        linked = [
            graph.add(f"link-{n}", tasks.link_frames, job, n, staged[n - 1 : n + 1], white)
            for n in range(1, len(staged))
        ]
    aligned = graph.add("align", tasks.align_frames, job, staged, white, linked)
    boxes = tasks.tiles_of(job, shape)
    surveyed: list[str] = []
    settled: list[str] = []
    if decided:
        surveyed = [
            graph.add(f"survey-{_at(box)}", tasks.survey_one_tile, job, box, staged, aligned)
            for box in boxes
        ]
        settled = [graph.add("settle", tasks.settle_map, job, shape, surveyed)]
    fused = [
        graph.add(f"tile-{_at(box)}", tasks.fuse_one_tile, job, box, staged, aligned, settled)
        for box in boxes
    ]
    scored = [graph.add("score", tasks.score_tiles, job, aligned, fused)] if job.score else []
    encoded = [
        graph.add(f"encode-{output}", tasks.encode_output, job, output, aligned, fused)
        for output in tasks.output_names(job)
    ]
    before = (staged, linked, aligned, surveyed + settled, fused, scored, encoded)
    return graph.value_of(graph.add("finish", tasks.finish_stack, job, *before))


def _at(box: Box) -> str:
    return f"{box.top}-{box.left}"


class _Graph:
    """Calls by key; an argument that is a key, or a list of keys, is what those give."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: dict[str, tuple[Any, ...]] = {}

    def add(self, part: str, function: object, *arguments: object) -> str:
        """The key of a call of `function`."""
        key = f"{self._name}{SEPARATOR}{part}"
        self._calls[key] = (function, *arguments)
        return key

    def value_of(self, key: str) -> Delayed:
        """What all calls are made for."""
        return Delayed(key, self._calls)
