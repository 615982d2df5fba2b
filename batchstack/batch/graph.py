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
"""

from dask import delayed
from dask.delayed import Delayed

from batchstack.batch import tasks
from batchstack.batch.jobs import Job
from batchstack.fusion.methods import METHODS
from batchstack.geometry import Box

# Between the name of a graph and that of a task, in the keys that Dask knows them by; no id
# of a stack has it.
SEPARATOR = "|"
# The task that does a whole stack.
WHOLE = "stack"


def whole_graph(job: Job, name: str) -> Delayed:
    """One task; its value is the stack's `Result`.

    Parameters
    ----------
    job : Job
    name : str
        Unique among all graphs of the run; Dask's keys start with it.
    """
    return _task(tasks.do_stack, name, WHOLE, job)


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
    staged: list[Delayed] = []
    for index in range(len(job.frames)):
        # Resizing needs the first frame's size, so the others wait for it.
        after = staged[:1] if job.resize else []
        staged.append(_task(tasks.stage_frame, name, f"stage-{index}", job, index, after))
    decided = any(METHODS[method].decided for method in job.methods)
    white = _task(tasks.find_range, name, "range", job, staged)
    linked: list[Delayed] = []
    if job.is_linked:
        linked = [
            _task(tasks.link_frames, name, f"link-{n}", job, n, staged[n - 1 : n + 1], white)
            for n in range(1, len(staged))
        ]
    aligned = _task(tasks.align_frames, name, "align", job, staged, white, linked)
    boxes = tasks.tiles_of(job, shape)
    surveyed: list[Delayed] = []
    settled: list[Delayed] = []
    if decided:
        surveyed = [
            _task(tasks.survey_one_tile, name, f"survey-{_at(box)}", job, box, staged, aligned)
            for box in boxes
        ]
        settled = [_task(tasks.settle_map, name, "settle", job, shape, surveyed)]
    fused = [
        _task(tasks.fuse_one_tile, name, f"tile-{_at(box)}", job, box, staged, aligned, settled)
        for box in boxes
    ]
    scored = [_task(tasks.score_tiles, name, "score", job, aligned, fused)] if job.score else []
    encoded = [
        _task(tasks.encode_output, name, f"encode-{output}", job, output, aligned, fused)
        for output in tasks.output_names(job)
    ]
    before = (staged, linked, aligned, surveyed + settled, fused, scored, encoded)
    return _task(tasks.finish_stack, name, "finish", job, *before)


def _at(box: Box) -> str:
    return f"{box.top}-{box.left}"


def _task(function: object, name: str, part: str, *arguments: object) -> Delayed:
    # Not pure: the same job asked for again must run again, whatever a scheduler kept.
    return delayed(function, pure=False)(*arguments, dask_key_name=f"{name}{SEPARATOR}{part}")
