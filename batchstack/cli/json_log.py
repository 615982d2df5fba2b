"""What happens in a run, as one JSON object per line, for programs that look on."""

import json
import sys
import time
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from batchstack import __version__, files
from batchstack.batch.events import Event, RunStarted, StackDone, StackUnderWay, Summary
from batchstack.cli import screen
from batchstack.cli.progress import Progress
from batchstack.errors import FileError, OptionError

STDERR = Path("-")
_START = b'{"event": '  # of every line
SECONDS_BETWEEN = 10.0  # lines that say how far the run is


class JsonLog(ExitStack):
    """A listener of a run; what cannot be written is dropped.

    Parameters
    ----------
    path : Path
        A file, which is appended to; `-` is stderr, which then has nothing else.
    progress : Progress
        That knows how far the run is.

    Raises
    ------
    OptionError
        If the file cannot be appended to, or holds something else.
    """

    def __init__(self, path: Path, progress: Progress) -> None:
        super().__init__()
        self._progress, self._begun = progress, set[str]()
        self._told = time.monotonic()
        self._file = None if path == STDERR else files.LineFile(path)
        if self._file is None:
            self.enter_context(screen.shown_by(lambda text: None))
        else:
            _refuse_strange(path)
            try:
                self._file.make_ready()
            except FileError as error:
                raise OptionError(f"--json-log {error}") from error
            self.callback(self._file.close)
        self.enter_context(screen.heard_by(lambda text: self.write("message", text=text)))

    def __call__(self, event: Event) -> None:
        if isinstance(event, RunStarted):
            self._told = time.monotonic()
            about = {"stacks": event.stacks, "skipped": event.skipped, "version": __version__}
            self.write("run_started", **about, megapixels=round(event.megapixels, 3))
        elif isinstance(event, StackUnderWay):
            self._under_way(event)
        elif isinstance(event, StackDone):
            self._done(event)
        else:
            self._begun.discard(event.row.id)
            self.write("stack_failed", stack=event.row.id, message=event.message)
        self._progress_now_and_then()

    def finish(self, summary: Summary) -> None:
        """Write what the run came to."""
        self.write(
            "run_finished",
            done=summary.done,
            skipped=summary.skipped,
            failed=len(summary.failures),
            not_started=summary.remaining,
            megapixels=round(summary.megapixels, 3),
            seconds=round(summary.seconds, 3),
            interrupted=summary.interrupted,
        )

    def __exit__(self, *error: Any) -> bool | None:
        if error[1] is not None:
            self.write("run_lost", message=str(error[1]) or error[0].__name__)
        return super().__exit__(*error)

    def write(self, event: str, **about: Any) -> None:
        """Write one line."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"event": event, "time": now, **about}, ensure_ascii=False)
        if self._file is None:
            sys.stderr.write(f"{line}\n")
            sys.stderr.flush()
        else:
            with suppress(FileError):
                self._file.append(line.encode(errors="replace"))

    def _under_way(self, event: StackUnderWay) -> None:
        if event.row.id not in self._begun:
            self._begun.add(event.row.id)
            self.write("stack_started", stack=event.row.id, worker=event.worker)

    def _done(self, event: StackDone) -> None:
        self._begun.discard(event.row.id)
        result = event.result
        self.write(
            "stack_done",
            stack=event.row.id,
            worker=result.worker,
            seconds=round(result.seconds, 3),
            megapixels=round(event.megapixels, 3),
            outputs=[str(result.job.output_path(name)) for name in result.outputs],
            warnings=result.warnings,
        )

    def _progress_now_and_then(self) -> None:
        if time.monotonic() - self._told < SECONDS_BETWEEN:
            return
        self._told = time.monotonic()
        pace, left = self._progress.pace, self._progress.seconds_left
        self.write(
            "progress",
            done=pace.done,
            failed=pace.failed,
            stacks=pace.stacks,
            megapixels=round(pace.fused, 3),
            of_megapixels=round(pace.megapixels, 3),
            seconds_left=None if left is None else round(left, 1),
        )


def _refuse_strange(path: Path) -> None:
    """Refuse to append to a file that is no such log, such as a photograph."""
    try:
        if not files.is_file(path):  # a pipe, or a device, is read by somebody else
            return
        with files.open_to_read(path) as file:
            start = file.read(len(_START))
    except OSError:  # which whoever appends meets too
        return
    if start and start != _START:
        raise OptionError(f"--json-log {path}: holds something else; give a file of its own")
