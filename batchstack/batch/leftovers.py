"""What killed processes left of stacks that are done again; only names that are made here."""

from collections.abc import Sequence
from functools import cache, partial
from pathlib import Path

from batchstack import files
from batchstack.batch import previews
from batchstack.batch.jobs import Job
from batchstack.batch.output_names import has_own_folder, place
from batchstack.fusion.methods import METHODS


def clear_leftovers(job: Job) -> None:
    """Remove what a killed worker left of a stack; only names that are made here."""
    files.remove_tree(job.scratch)
    if has_own_folder(job.template):
        _clear_parts([job])
    previews.clear_leftovers(job)


def clear_shared_folders(jobs: Sequence[Job]) -> None:
    """Remove what killed workers left in folders that are too full to be looked at for each stack.

    The stacks of a run are named alike.
    """
    if jobs and not has_own_folder(jobs[0].template):
        _clear_parts(jobs)


def _clear_parts(jobs: Sequence[Job]) -> None:
    """Remove parts of outputs that these jobs, or others of their stacks, make."""
    outputs = [name for method in METHODS.values() for name in method.outputs]

    @cache
    def ours() -> set[Path]:  # of many stacks, and mostly there is no part at all
        return {job.output_path(name) for job in jobs for name in outputs}

    def is_ours(folder: Path, name: str) -> bool:
        return folder / name in ours()

    # As text, because making paths of all outputs of all stacks took longer than to look.
    places = {
        (job.directory, place(job.template, job.id, name).rpartition("/")[0])
        for job in jobs
        for name in outputs
    }
    for folder in (directory / inside for directory, inside in places):
        files.remove_parts(folder, partial(is_ours, folder))
