"""The Dask graph of a stack.

    fits a worker:   fuse_stack
    does not:        stage_frame x N -> fuse_one_tile x T -> encode_output x outputs -> finish

Arguments are paths and boxes, results small values; pixels pass through scratch.
"""

from dask import delayed
from dask.delayed import Delayed

from batchstack.batch import tasks
from batchstack.batch.jobs import Job
from batchstack.fusion.engine import tiles
from batchstack.fusion.methods import METHODS


def whole_graph(job: Job, name: str) -> Delayed:
    """One task; its value is the stack's `Result`.

    Parameters
    ----------
    job : Job
    name : str
        Unique among all graphs of the run; Dask's keys start with it.
    """
    return _task(tasks.fuse_stack, name, "stack", job)


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
    methods = [METHODS[method] for method in job.methods]
    fused = [
        _task(tasks.fuse_one_tile, name, f"tile-{box.top}-{box.left}", job, box, staged)
        for box in tiles(shape, job.tile, methods, job.fusion)
    ]
    encoded = [
        _task(tasks.encode_output, name, f"encode-{output}", job, output, fused)
        for output in tasks.output_names(job)
    ]
    return _task(tasks.finish_stack, name, "finish", job, staged, fused, encoded)


def _task(function: object, name: str, part: str, *arguments: object) -> Delayed:
    # Not pure: the same job asked for again must run again, whatever a scheduler kept.
    return delayed(function, pure=False)(*arguments, dask_key_name=f"{name}-{part}")
