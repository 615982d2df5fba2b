"""What colours mean: profiles for what only a tag or a chunk states, and whether two agree.

Profiles are made and applied by Little CMS (imagecodecs).
"""

import struct
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import xxhash

from batchstack.images.exif_block import parse
from batchstack.images.info import Metadata

CHUNKS = {b"cICP": 4, b"sRGB": 1, b"gAMA": 4, b"cHRM": 32}
"""Of PNG (third edition, 11.3.2), those that say what colours mean, the strongest first, and the
bytes that each holds."""

# White, red, green and blue, each x and y (ITU-T H.273, table 2).
_D65 = (0.3127, 0.3290)
_BT709 = (*_D65, 0.640, 0.330, 0.300, 0.600, 0.150, 0.060)
_PRIMARIES = {
    1: _BT709,
    4: (0.310, 0.316, 0.67, 0.33, 0.21, 0.71, 0.14, 0.08),
    5: (*_D65, 0.64, 0.33, 0.29, 0.60, 0.15, 0.06),
    6: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    7: (*_D65, 0.630, 0.340, 0.310, 0.595, 0.155, 0.070),
    9: (*_D65, 0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    11: (0.314, 0.351, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
    12: (*_D65, 0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
# Exponents, and the curves of BT.709 and sRGB (table 3): factor and offset of the power law,
# exponent, and slope of the straight part, with the stored value at which it ends.
_EXPONENTS = {4: 2.2, 5: 2.8, 8: 1.0}
_BT709_CURVE = (1.099, 0.099, 1 / 0.45, 4.5, 0.081)
_SRGB_CURVE = (1.055, 0.055, 2.4, 12.92, 0.04045)
_CURVES = {1: _BT709_CURVE, 6: _BT709_CURVE, 13: _SRGB_CURVE, 14: _BT709_CURVE, 15: _BT709_CURVE}
_SRGB = 13
# gAMA of sRGB, and how far programs round it and cHRM, in 100,000ths.
_GAMMA_OF_SRGB, _ROUNDED = 45455, 50
_KNOTS = 4096
_SPACES = {1: b"GRAY", 3: b"RGB "}
# A profile holds the time at which it was made; outputs do not depend on the time.
_TIME, _LONG_AGO = slice(24, 36), struct.pack(">6H", 2000, 1, 1, 0, 0, 0)
# Profiles mean the same if no colour of a grid comes out further apart, of 65535.
_STEPS, _SAME = 6, 655


def is_sound(kind: bytes, data: bytes) -> bool:
    """Whether one of `CHUNKS` says something that can be true."""
    if len(data) != CHUNKS[kind]:
        return False
    if kind == b"cHRM":
        return _made(3, _places(data), _SRGB_CURVE) is not None
    return kind != b"gAMA" or any(data)


def is_for(icc: bytes, channels: int) -> bool:
    """Whether a profile is for so many channels."""
    return icc[16:20] == _SPACES.get(channels)


def stated_profile(metadata: Metadata, channels: int) -> bytes | None:
    """The profile that is embedded, or else one made from what chunks or tags state.

    Parameters
    ----------
    metadata : Metadata
    channels : int
        Of the picture.

    Returns
    -------
    bytes, optional
        None if nothing is stated, or what no profile can say (PQ and HLG, for example).
    """
    if metadata.icc:
        return metadata.icc if is_for(metadata.icc, channels) else None
    if metadata.chunks:
        return _of_chunks(dict(metadata.chunks), channels)
    return _adobe_rgb() if channels == 3 and parse(metadata.exif).says_adobe_rgb else None


def key(metadata: Metadata) -> str:
    """Equal for frames that state their colours alike, empty for one that states nothing."""
    stated = [metadata.icc or b"", *(kind + data for kind, data in metadata.chunks)]
    if parse(metadata.exif).says_adobe_rgb:
        stated.append(b"R03")
    return xxhash.xxh3_64_hexdigest(b"\0".join(stated)) if any(stated) else ""


def agree(one: Metadata, other: Metadata, channels: int) -> bool:
    """Whether the same pixels have the same colours in two pictures.

    Colours of which nothing is said are taken for sRGB, grey for any.
    """
    first, second = (stated_profile(metadata, channels) for metadata in (one, other))
    if first == second:
        return bool(first) or one.chunks == other.chunks
    if channels == 1 and not (first and second):
        return True
    first, second = first or _srgb(), second or _srgb()
    grid = _grid(channels)
    known = [_compared(profile, grid, channels) for profile in (first, second)]
    if known[0] is None or known[1] is None:  # nobody knows
        return False
    return int(np.abs(known[0] - known[1]).max()) <= _SAME


def _grid(channels: int) -> Any:
    steps = np.linspace(0, 65535, _STEPS).astype(np.uint16)
    if channels == 1:
        return steps[np.newaxis]
    return np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(1, -1, 3)


def _compared(profile: bytes, pixels: Any, channels: int) -> Any:
    """Pixels of a profile in one space; None if it is damaged."""
    import imagecodecs

    try:
        return imagecodecs.cms_transform(
            pixels,
            profile,
            _wide(),
            colorspace="rgb" if channels == 3 else "gray",
            outcolorspace="rgb",
        ).astype(np.int64)
    except imagecodecs.CmsError:
        return None


def _of_chunks(chunks: Mapping[bytes, bytes], channels: int) -> bytes | None:
    if b"cICP" in chunks:
        number, transfer, matrix, full = chunks[b"cICP"]
        curve = _EXPONENTS.get(transfer) or _CURVES.get(transfer)
        if matrix or not full or number not in _PRIMARIES or curve is None:
            return None
        return _made(channels, _PRIMARIES[number], curve)
    if b"sRGB" in chunks:
        return _stated_srgb(channels)
    exponent = int.from_bytes(chunks.get(b"gAMA", b""))
    primaries = _places(chunks[b"cHRM"]) if b"cHRM" in chunks else _BT709
    if _stands_for_srgb(exponent, primaries):
        return _stated_srgb(channels)
    return _made(channels, primaries, 1e5 / exponent if exponent else _SRGB_CURVE)


def _places(data: bytes) -> tuple[float, ...]:
    return tuple(value / 1e5 for value in struct.unpack(">8I", data))


def _stands_for_srgb(exponent: int, primaries: tuple[float, ...]) -> bool:
    """Whether gAMA and cHRM are those that writers of sRGB give besides (PNG, 11.3.2.5)."""
    apart = max(abs(one - other) for one, other in zip(primaries, _BT709, strict=True))
    return abs(exponent - _GAMMA_OF_SRGB) <= _ROUNDED and apart <= _ROUNDED / 1e5


def _stated_srgb(channels: int) -> bytes | None:
    return _srgb() if channels == 3 else _made(1, _BT709, _SRGB_CURVE)


def _adobe_rgb() -> bytes:
    import imagecodecs

    return _timeless(imagecodecs.cms_profile("adobergb"))


@cache
def _srgb() -> bytes:
    import imagecodecs

    return _timeless(imagecodecs.cms_profile("srgb"))


@cache
def _wide() -> bytes:
    """A space in which colours that differ are different numbers: BT.2020 by the curve of sRGB."""
    wide = _made(3, _PRIMARIES[9], _SRGB_CURVE)
    assert wide is not None
    return wide


def _made(
    channels: int, primaries: tuple[float, ...], curve: float | tuple[float, ...]
) -> bytes | None:
    """A profile of a white point, primaries and a curve; None if there is none of these."""
    import imagecodecs

    white, *colours = (primaries[at : at + 2] for at in range(0, 8, 2))
    how: dict[str, Any] = {"whitepoint": (*white, 1.0)}
    how |= {"transferfunction": _knots(curve)} if isinstance(curve, tuple) else {"gamma": curve}
    if channels == 3:
        how["primaries"] = tuple(value for x_y in colours for value in (*x_y, 1.0))
    try:
        return _timeless(imagecodecs.cms_profile("rgb" if channels == 3 else "gray", **how))
    except (imagecodecs.CmsError, ValueError):
        return None


def _knots(curve: tuple[float, ...]) -> Any:
    factor, offset, exponent, slope, end = curve
    stored = np.linspace(0, 1, _KNOTS)
    power = ((stored + offset) / factor) ** exponent
    return np.where(stored < end, stored / slope, power).astype(np.float32)


def _timeless(profile: bytes) -> bytes:
    data = bytearray(profile)
    data[_TIME] = _LONG_AGO
    return bytes(data)
