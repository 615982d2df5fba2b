"""`failed.csv`, the list of the stacks that failed last, as a manifest that runs."""

import os
from pathlib import Path

from batchstack import files
from batchstack.batch.ledger import Ledger
from batchstack.batch.manifest import write_records
from batchstack.errors import OutputInUseError

FAILED = "failed.csv"
_LIST = b"id,"  # how it starts


def refuse_strange_list(directory: Path, manifest: Path) -> None:
    """Refuse an output directory whose `failed.csv` no run has left: it would be replaced.

    Raises
    ------
    OutputInUseError
    """
    path = directory / FAILED
    if files.is_strange(path, _LIST) and not _is_same(manifest, path):
        raise OutputInUseError(
            f"{path}: is not a list that a run has left; rename or remove it, because a run keeps "
            "the list of its failed stacks there"
        )


def leave_failed(directory: Path, ledger: Ledger, manifest: Path | None) -> None:
    """List all stacks that the ledger holds as failed, as a manifest that runs."""
    path = directory / FAILED
    if manifest is not None and _is_same(manifest, path):
        return
    records = [row for _, _, row in ledger.failed() if row is not None]
    if records:
        write_records(path, records)
    else:
        files.remove(path)


def _is_same(one: Path, other: Path) -> bool:
    try:
        return os.path.samestat(files.status(one), files.status(other))
    except OSError:
        return False
