"""Which photographs of a folder have come to rest while others are still being taken."""

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from batchstack import files
from batchstack.scan.folder import Folder
from batchstack.scan.grouping import Proposal


class Watch:
    """Proposes the stacks of a folder whose capture has ended.

    Parameters
    ----------
    folder : Folder
    quiet : float
        Seconds that every frame of a stack must have been there unchanged.
    clock : callable
        Seconds of a clock that nobody sets.
    """

    def __init__(
        self, folder: Folder, quiet: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder, self._quiet, self._clock = folder, quiet, clock
        self._seen: dict[Path, tuple[tuple[int, int], float]] = {}

    def ended(self) -> Proposal:
        """The stacks that no frame was added to for long enough.

        Raises
        ------
        FileError
            If a folder cannot be read.
        """
        now = self._clock()
        proposal = self._folder.propose(steady_ids=True)
        young = {
            name
            for name in self._folder.names()
            if self._age(self._folder.path / name, now) < self._quiet
        }
        placed = {name for group in proposal.groups for name in group.frames}
        # Of what a photograph is that is still being written is not known yet.
        busy = {PurePosixPath(name).parent for name in young - placed}
        groups = [
            group
            for group in proposal.groups
            if young.isdisjoint(group.frames) and PurePosixPath(group.frames[0]).parent not in busy
        ]
        return replace(proposal, groups=groups)

    def _age(self, path: Path, now: float) -> float:
        """Seconds since a file was first seen as it is."""
        try:
            status = files.status(path)
        except OSError:
            return 0.0
        state = (status.st_size, status.st_mtime_ns)
        known, since = self._seen.get(path, (None, now))
        if known != state:
            since = now
            self._seen[path] = (state, now)
        return now - since
