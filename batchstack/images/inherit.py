"""What an output inherits of a frame's metadata: all that still holds for it.

Said of the frame's file alone, and so left out: thumbnails, descriptions that programs wrote
for themselves, and announcements of what follows the picture.
Changed to what holds for the output: sizes in pixels, orientation, software.
"""

from dataclasses import replace

from batchstack.formats import FORMATS, Format
from batchstack.images import descriptions, xmp
from batchstack.images.colour import stated_profile
from batchstack.images.exif_block import (
    DESCRIPTION,
    MAKER_NOTE,
    MAP,
    XMP_PACKET,
    Exif,
    density_of,
    parse,
)
from batchstack.images.info import ImageInfo, Metadata

LOST_MAP = "the places of its pixels on a map (GeoTIFF)"


def inheritable(stored: Metadata, orientation: int, *, strip_gps: bool = False) -> Metadata:
    """What outputs may inherit, whatever their format and size.

    Parameters
    ----------
    stored : Metadata
        As a codec reads it.
    orientation : int
        1 to 8, as stored.
    strip_gps : bool
        Whether to leave out where on the earth a picture was taken.
    """
    as_stored, lost = parse(stored.exif), list(stored.lost)
    exif = as_stored.in_place().turned(orientation)
    if as_stored.main.keys() & MAP:
        lost.append(LOST_MAP)
    in_exif = as_stored.main.get(XMP_PACKET)
    if in_exif and not stored.xmp:
        stored = replace(stored, xmp=in_exif.data)
    if descriptions.is_machine(exif.text(DESCRIPTION)):
        exif = exif.without_main(DESCRIPTION)
        lost.append("the description that a program wrote of the file")
    if strip_gps:
        exif = exif.without_gps()
    packet = _packet(stored.xmp, lost, strip_gps, is_turned=orientation != 1)
    resolution = stored.resolution
    if resolution and orientation >= 5:
        resolution = resolution[::-1]
    return replace(stored, exif=_block(exif), xmp=packet, resolution=resolution, lost=tuple(lost))


def scaled(metadata: Metadata, rows: float, columns: float) -> Metadata:
    """The same of a picture resized by these factors, which has so many more pixels per inch."""
    if metadata.resolution is None:
        return metadata
    x, y = metadata.resolution
    exif = parse(metadata.exif).scaled(columns, rows)
    return replace(metadata, exif=_block(exif), resolution=(x * columns, y * rows))


def _packet(
    stored: bytes | None, lost: list[str], strip_gps: bool, *, is_turned: bool
) -> bytes | None:
    if not stored:
        return None
    plain = xmp.upright(xmp.in_utf8(stored))
    if is_turned:
        plain = xmp.without_regions(plain)
    packet = xmp.stripped(plain)
    if packet is not None and len(packet) < len(plain) and xmp.is_announcing(plain):
        lost.append("XMP that announces what is stored behind the picture")
    if packet is not None and strip_gps:
        packet = xmp.without_gps(packet)
    if packet is None:
        lost.append("XMP that cannot be read")
    return packet


def inherited(metadata: Metadata, wanted: ImageInfo, software: str | None = None) -> Metadata:
    """What one output inherits.

    Parameters
    ----------
    metadata : Metadata
        As `inheritable`.
    wanted : ImageInfo
        The output's format, size and channels.
    software : str, optional
        As of `Encoding`.
    """
    row, lost = FORMATS[wanted.format], list(metadata.lost)
    exif = parse(metadata.exif).turned(1)
    if software:
        exif = exif.with_software(software)
    exif = _with_resolution(exif, metadata).with_size(wanted.height, wanted.width)
    packet = metadata.xmp and xmp.fitted(xmp.upright(metadata.xmp), wanted.height, wanted.width)
    if packet and xmp.region_size(packet) not in (None, (str(wanted.width), str(wanted.height))):
        packet = xmp.without_regions(packet)
    if packet and len(packet) > row.block_room:
        packet = None
        lost.append(f"XMP, which is too long for {row.label}")
    return replace(
        metadata,
        exif=_fitting(exif, row, lost),
        xmp=packet,
        icc=_profile(metadata, wanted, lost),
        lost=tuple(lost),
    )


def _block(exif: Exif) -> bytes | None:
    return exif.block() if exif else None


def _with_resolution(exif: Exif, metadata: Metadata) -> Exif:
    """State the size of pixels where EXIF is stated at all."""
    density = density_of(metadata.resolution) if metadata.has_unit else None
    return exif.with_density(density) if exif and density else exif


def _fitting(exif: Exif, row: Format, lost: list[str]) -> bytes | None:
    """As much of EXIF as a format can hold."""
    block = _block(exif)
    if block and len(block) > row.block_room and MAKER_NOTE in exif.photo:
        block = _block(exif.without_note())
        lost.append(f"the maker notes of EXIF, which are too long for {row.label}")
    if block and len(block) > row.block_room:
        block = None
        lost.append(f"EXIF, which is too long for {row.label}")
    return block


def _profile(metadata: Metadata, wanted: ImageInfo, lost: list[str]) -> bytes | None:
    """The embedded profile, or one of what else is stated where that is not copied."""
    if metadata.chunks and FORMATS[wanted.format].colour_chunks:
        metadata = replace(metadata, chunks=())
    profile = stated_profile(metadata, wanted.channels)
    if metadata.icc and profile is None:
        lost.append("a colour profile that is not for its kind of pixels")
    if metadata.chunks and profile is None:
        lost.append("what its colours mean, for which no profile can be made")
    return profile
