"""What makes a method of a stack done: its key, its inputs and its outputs are as recorded."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from batchstack import files
from batchstack.batch.alignment import ALGO_VERSION as REGISTRATION_VERSION
from batchstack.batch.broken import frames_left, left_out_of
from batchstack.batch.device import DeviceSet
from batchstack.batch.jobs import Input
from batchstack.batch.records import Record
from batchstack.formats import of_suffix
from batchstack.fusion.methods import Method
from batchstack.options import DEFAULT_NAME, RunOptions

Digest = Callable[[Path], str]


def why_not_done(record: Record, key: dict[str, Any], directory: Path, stack_id: str) -> str | None:
    """Why a method must be computed whatever its frames, or None.

    Parameters
    ----------
    record : Record
        What the ledger has.
    key : dict
        The key computed now.
    directory : Path
        The output directory.
    stack_id : str
    """
    if record.key != key:
        return _difference(record.key, key)
    for name, output in record.outputs.items():
        # Text is joined ten times as fast as paths, and a long run has many.
        found = files.size_of(f"{directory}/{record.place(stack_id, name)}")
        if found is None:
            return f"{name} is missing"
        if found != output.size:
            return f"{name} has {found} bytes instead of {output.size}"
    return None


def what_changed(inputs: Sequence[Input], frames: Sequence[str], digest: Digest) -> str | None:
    """How frames differ from those recorded, or None.

    Parameters
    ----------
    inputs : sequence of Input
        As recorded.
    frames : sequence of str
        Their paths, back to front.
    digest : callable
        Digest of a file's content; called only for a frame whose path, size or time
        are not the recorded ones.
    """
    if len(inputs) != len(frames):
        return f"{len(frames)} frames instead of {len(inputs)}"
    for known, path in zip(inputs, frames, strict=True):
        if not same_content(known, path, digest):
            if path != known.path and {frame.path for frame in inputs} == set(frames):
                return "frames are in another order"
            return f"{Path(path).name} changed"
    return None


def is_as_recorded(inputs: Sequence[Input], frames: Sequence[str]) -> bool:
    """Whether frames have the recorded paths, sizes and times, so that none need be read."""
    found = ((path, files.status(path)) for path in frames)
    return len(inputs) == len(frames) and all(
        (known.path, known.size, known.mtime_ns) == (path, now.st_size, now.st_mtime_ns)
        for known, (path, now) in zip(inputs, found, strict=True)
    )


def same_content(known: Input, path: str, digest: Digest) -> bool:
    """Whether a file has the recorded content."""
    status = files.status(path)
    if status.st_size != known.size:
        return False
    if path == known.path and status.st_mtime_ns == known.mtime_ns:
        return True
    return digest(Path(path)) == known.digest


def _difference(old: dict[str, Any], new: dict[str, Any]) -> str:
    changed = [
        f"{name.replace('_', '-')} {old.get(name)} -> {new.get(name)}"
        for name in old | new
        if old.get(name) != new.get(name)
    ]
    return "changed: " + ", ".join(changed)


def output_key(
    method: Method,
    options: RunOptions,
    suffix: str,
    *,
    resized: bool = False,
    cropped: bool = False,
    device: DeviceSet | None = None,
) -> dict[str, Any]:
    """Everything but the inputs that a method's outputs depend on.

    Parameters
    ----------
    method : Method
    options : RunOptions
    suffix : str
        Ending of the outputs.
    resized, cropped : bool
        Whether frames were of different size, and resized or cropped to one.
    device : DeviceSet, optional
        Transforms that are given.
    """
    wanted, parts = of_suffix(suffix), set(method.parts)
    key: dict[str, Any] = {"algorithm": method.algo_version, "format": wanted.choice}
    if not wanted.lossless:
        parts.add("lossy")
    if options.output.strip_gps:
        parts.add("stripped")
    if options.output.name != DEFAULT_NAME:
        parts.add("named")
    if not options.alignment.is_off:
        parts.add("alignment")
        key["registration"] = REGISTRATION_VERSION
    elif options.alignment.reference not in ("first", "auto"):
        key["reference"] = options.alignment.reference  # the source of metadata
    if device:
        key["transforms"] = device.digest
    if resized:
        parts.add("resized")
    if cropped:
        parts.add("cropped")
    return key | options.used_by(parts)


class FramesThen:
    """What records say of the frames, compared with the files there are now."""

    def __init__(self, paths: Sequence[str], digest: Digest) -> None:
        self.paths, self.digest = paths, digest
        # By identity: the records of a stack mostly hold the same inputs, and hashing takes long.
        self._now: dict[int, bool] = {}
        self._differences: dict[int, str | None] = {}

    def is_now(self, record: Record) -> bool:
        """Whether paths, sizes and times are those of the record."""
        inputs = record.inputs
        found = self._now.get(id(inputs))
        if found is None:
            left = frames_left(self.paths, record.key)
            found = self._now[id(inputs)] = is_as_recorded(inputs, left)
        return found

    def difference(self, record: Record) -> str | None:
        """How the content differs from what was recorded, or None."""
        # What was left out may have been mended; its content is all that is known of it.
        for index, digest in left_out_of(record.key):
            path = Path(self.paths[index]) if index < len(self.paths) else None
            if path is None or self.digest(path) != digest:
                return f"{path.name if path else 'a frame that was left out'} changed"
        if self.is_now(record):
            return None
        inputs = record.inputs
        if id(inputs) not in self._differences:
            left = frames_left(self.paths, record.key)
            self._differences[id(inputs)] = what_changed(inputs, left, self.digest)
        return self._differences[id(inputs)]
