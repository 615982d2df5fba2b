"""A failing disk is told in the words of the system, and is never taken for a damaged image."""

import errno
import itertools
import os
import threading

import numpy as np
import pytest
from PIL import Image

from batchstack import files
from batchstack.errors import FileError, ImageError
from batchstack.images import (
    StagedImage,
    Written,
    check_image,
    file_digest,
    jpeg,
    png,
    probe,
    read_image,
    read_image_and_digest,
    read_metadata,
    stage_image,
    tiff_read,
    write_image,
    write_image_rows,
    write_npy,
)
from batchstack.images.read import checksum
from batchstack.images.source import image_file
from tests.images.faults import FailingSystem
from tests.images.samples import SRGB, XMP, exif_block, jpeg_bytes, noise, photo, png_bytes
from tests.images.test_read import FILES, tiff_bytes

EXIF = b"Exif\0\0" + exif_block(6)
SAMPLES = FILES | {
    "jpeg with exif": jpeg_bytes(photo(), exif=EXIF, icc_profile=SRGB),
    "png with exif": png_bytes(Image.fromarray(photo()), exif=EXIF, icc_profile=SRGB),
    "tiff with tags": tiff_bytes(
        photo(),
        iccprofile=SRGB,
        extratags=[(274, "H", 1, 6, True), (700, "B", len(XMP), XMP, True)],
    ),
}
READERS = {
    "probe": probe,
    "pixels": read_image,
    "pixels and digest": read_image_and_digest,
    "metadata": read_metadata,
    "staging": lambda path: stage_image(path, path.with_name("staged.npy")),
    "digest": file_digest,
}


def errors_of(monkeypatch, code, work):
    """Do some work until nothing fails, each time with the next call failing; yield the errors."""
    for at in itertools.count(1):
        system, error = FailingSystem(at, code), None
        with monkeypatch.context() as patch:
            patch.setattr(files.calls, "system", system)
            try:
                work()
            except FileError as caught:
                error = caught
        if not system.failed:
            assert error is None
            return
        yield error


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", SAMPLES)
def test_a_failing_read_is_never_damage(tmp_path, monkeypatch, name, reader):
    path = tmp_path / "frame"
    path.write_bytes(SAMPLES[name])
    errors = list(errors_of(monkeypatch, errno.EIO, lambda: READERS[reader](path)))
    assert len(errors) > 2
    for error in errors:
        assert isinstance(error, FileError)
        assert str(error).startswith(str(tmp_path))
        assert "Input/output error" in str(error)
        assert "damaged" not in str(error)


@pytest.mark.parametrize("code", [errno.ENOENT, errno.ESTALE, errno.ETIMEDOUT, errno.EACCES])
def test_the_words_of_the_system_reach_the_user(tmp_path, monkeypatch, code):
    path = tmp_path / "frame"
    path.write_bytes(FILES["tiled tiff"])
    for error in errors_of(monkeypatch, code, lambda: read_image(path)):
        assert str(error).startswith(f"{path}: cannot be read: {os.strerror(code)}; ")


def test_a_failure_that_was_swallowed_is_told_all_the_same(tmp_path, monkeypatch):
    (tmp_path / "a.png").write_bytes(FILES["png"])
    monkeypatch.setattr(files.calls, "system", FailingSystem(2, errno.EIO))
    for swallow in (OSError, Exception):
        with (
            pytest.raises(FileError, match="Input/output error"),
            files.read_file(tmp_path / "a.png") as file,
        ):
            try:
                file.read()
            except swallow:
                monkeypatch.setattr(files.calls, "system", FailingSystem(2, errno.EIO))


@pytest.mark.parametrize(
    ("module", "name"), [(jpeg, "baseline jpeg"), (png, "png"), (tiff_read, "plain tiff")]
)
def test_mistakes_of_batchstack_are_not_blamed_on_the_file(tmp_path, monkeypatch, module, name):
    (tmp_path / "frame").write_bytes(FILES[name])
    monkeypatch.setattr(module, "check_claim", None)
    for reader in (probe, read_image):
        with pytest.raises(TypeError, match="NoneType"):
            reader(tmp_path / "frame")


def test_what_libraries_raise_is_blamed_on_the_file(tmp_path):
    (tmp_path / "frame").write_bytes(FILES["png"])
    for error in (OSError("truncated"), SyntaxError("odd"), AttributeError("odd"), KeyError(3)):
        with (
            pytest.raises(ImageError, match="PNG header that is not supported"),
            image_file(tmp_path / "frame"),
        ):
            raise error


WRITERS = {
    "jpeg": lambda folder: write_image(folder / "a.jpg", photo()),
    "png": lambda folder: write_image(folder / "a.png", photo()),
    "deflated tiff": lambda folder: write_image(folder / "a.tif", noise((90, 80)) % 4),
    "plain tiff": lambda folder: write_image(folder / "a.tif", noise((90, 80))),
    "bands": lambda folder: write_image_rows(
        folder / "a.tif", (600, 80), np.uint8, (noise((60, 80), seed=seed) for seed in range(10))
    ),
    "scratch": lambda folder: write_npy(folder / "a.npy", noise((90, 80))),
    "new folder": lambda folder: write_npy(folder / "new" / "a.npy", noise((90, 80))),
}


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC])
@pytest.mark.parametrize("writer", WRITERS)
def test_a_failing_write_leaves_the_old_file_or_the_new_one(tmp_path, monkeypatch, writer, code):
    WRITERS[writer](tmp_path)
    (path,) = (path for path in tmp_path.rglob("*") if path.is_file())
    new = path.read_bytes()
    errors = []
    path.write_bytes(b"old")
    for error in errors_of(monkeypatch, code, lambda: WRITERS[writer](tmp_path)):
        errors.append(str(error))
        assert [file for file in tmp_path.rglob("*") if file.is_file()] == [path]
        assert path.read_bytes() in (b"old", new)
        path.write_bytes(b"old")
    assert len(errors) > 4
    for message in errors:
        assert message.startswith((f"{path}: ", f"{path.parent}: "))
        assert os.strerror(code) in message


class Durable(files.System):
    """Notes what is done, in the order it is done."""

    def __init__(self):
        self.done = []

    def sync(self, file):
        self.done.append("sync")
        super().sync(file)

    def sync_folder(self, path):
        self.done.append("sync folder")
        super().sync_folder(path)

    def replace(self, source, target):
        self.done.append("replace")
        super().replace(source, target)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_outputs_are_on_the_disk_before_they_have_a_name(tmp_path, monkeypatch, suffix):
    system = Durable()
    monkeypatch.setattr(files.calls, "system", system)
    path = tmp_path / f"a.{suffix}"
    written = write_image(path, photo(), publish=lambda: system.done.append("publish"))
    assert system.done == ["sync", "publish", "replace"]
    system.done.clear()
    assert write_image(path, photo(), durable=False) == written
    write_npy(tmp_path / "a.npy", photo())
    stage_image(path, tmp_path / "b.npy")
    assert system.done == ["replace"] * 3


class SlowDisk(files.System):
    """Brings nothing to the disk before it is told to."""

    def __init__(self):
        self.go_on = threading.Event()

    def sync(self, file):
        assert self.go_on.wait(60)
        super().sync(file)


def test_the_next_file_is_made_while_the_disk_is_waited_for(tmp_path, monkeypatch):
    disk = SlowDisk()
    monkeypatch.setattr(files.calls, "system", disk)
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    with files.Behind() as behind:
        for path in (one, two):
            write_image(path, photo(), finish=behind)
        # Both are made, neither has its name.
        assert not one.exists() and not two.exists()
        assert len(list(tmp_path.iterdir())) == 2
        disk.go_on.set()
    assert sorted(tmp_path.iterdir()) == [one, two]


def test_what_fails_behind_is_raised_and_leaves_the_old_file(tmp_path, monkeypatch):
    class Broken(files.System):
        def sync(self, file):
            if "one" in file.name:
                raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(files.calls, "system", Broken())
    one, two = tmp_path / "one.png", tmp_path / "two.png"
    one.write_bytes(b"old")
    with pytest.raises(FileError, match=f"{one}: cannot be written"), files.Behind() as behind:
        for path in (one, two):
            write_image(path, photo(), finish=behind)
    assert one.read_bytes() == b"old" and sorted(tmp_path.iterdir()) == [one, two]


def test_what_fails_before_is_raised_first(tmp_path):
    def refuse():
        raise FileError("may not")

    with pytest.raises(ZeroDivisionError), files.Behind() as behind:
        write_image(tmp_path / "a.png", photo(), publish=refuse, finish=behind)
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_who_may_not_publish_leaves_what_was_there(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"old")

    def refuse():
        assert path.read_bytes() == b"old"
        raise RuntimeError("lost the race")

    with pytest.raises(RuntimeError, match="lost the race"):
        write_image(path, photo(), publish=refuse)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_bytes() == b"old"


def test_scratch_that_was_removed_is_not_made_again(tmp_path):
    (tmp_path / "frame").write_bytes(FILES["png"])
    target = tmp_path / "run" / "stack" / "a.npy"
    for write in (
        lambda: write_npy(target, noise((9, 9))),
        lambda: stage_image(tmp_path / "frame", target),
    ):
        with pytest.raises(FileError, match="No such file"):
            write()
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    write_npy(target, noise((9, 9)))
    np.testing.assert_array_equal(StagedImage(target).whole(), noise((9, 9)))


@pytest.mark.parametrize("shape", [(40, 3000, 3), (40, 30)])
def test_scratch_on_a_failing_disk(tmp_path, monkeypatch, shape):
    write_npy(tmp_path / "a.npy", noise(shape))
    for cols in (slice(0, shape[1]), slice(1, shape[1] - 1), slice(1, 5)):
        errors = list(
            errors_of(
                monkeypatch,
                errno.EIO,
                lambda cols=cols: StagedImage(tmp_path / "a.npy")[2:38, cols],
            )
        )
        assert len(errors) > 2
        for error in errors:
            assert f"{tmp_path / 'a.npy'}: cannot be read: Input/output error" in str(error)


@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_what_is_no_longer_as_written_is_said_in_words(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    written = write_image(path, photo())
    assert check_image(path, written) is None
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    assert check_image(path, written) == f"has {len(good) - 1} bytes instead of {len(good)}"
    for place in (0, len(good) // 2, len(good) - 1):
        path.write_bytes(good[:place] + bytes([good[place] ^ 1]) + good[place + 1 :])
        assert "other content" in check_image(path, written)
    path.unlink()
    assert check_image(path, written) == "is missing"


@pytest.mark.parametrize("name", ["baseline jpeg", "png", "deflate tiff"])
def test_bytes_that_are_the_same_but_do_not_decode_are_noticed(tmp_path, name):
    data = FILES[name]
    path = tmp_path / "a"
    path.write_bytes(data[: len(data) // 2])
    with path.open("rb") as file:
        written = Written(path.stat().st_size, checksum(file))
    found = check_image(path, written)
    assert found.startswith("does not decode (")


def test_an_output_that_cannot_be_read_is_not_called_missing(tmp_path, monkeypatch):
    written = write_image(tmp_path / "a.tif", photo())
    for error in errors_of(
        monkeypatch, errno.EIO, lambda: check_image(tmp_path / "a.tif", written)
    ):
        assert "cannot be read: Input/output error" in str(error)
