"""XMP packets: what no longer holds for an output is taken out, all else stays.

A packet is XML (ISO 16684-1).
Some of its properties announce bytes that follow the picture in the frame's file: a gain map,
a film, a map of depth.  None of these is copied, so the announcements are not either.
"""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from xml.dom import XMLNS_NAMESPACE, minidom
from xml.parsers.expat import ExpatError

_TIFF, _EXIF = "http://ns.adobe.com/tiff/1.0/", "http://ns.adobe.com/exif/1.0/"
_XAP = "http://ns.adobe.com/xap/1.0/"
Name = tuple[str, str]
# minidom has no types of its own that tell elements from other nodes.
Element = Any
# Namespaces whose properties announce what follows the picture, by how they begin.
_ANNOUNCING = (
    "http://ns.google.com/photos/1.0/camera",
    "http://ns.google.com/photos/1.0/container",
    "http://ns.google.com/photos/1.0/depthmap",
    "http://ns.google.com/photos/1.0/image",
    "http://ns.google.com/photos/1.0/audio",
    "http://ns.google.com/photos/dd/",
    "http://ns.adobe.com/hdr-gain-map/",
    "http://ns.adobe.com/xmp/note/",  # that more XMP follows
    "http://ns.apple.com/HDRGainMap/",
    "http://ns.apple.com/HDRToneMap/",
    "http://ns.apple.com/pixeldatainfo/",
    "http://ns.apple.com/depthData/",
    "http://ns.apple.com/portraitEffectsMatte/",
    "http://ns.apple.com/semanticSegmentationMatte/",
    "http://ns.oneplus.com/media/",
    "http://ns.oppo.com/",
    "http://ns.oplus.com/",
    "http://ns.xiaomi.com/photos/",
    "http://ns.vivo.com/",
    "http://ns.samsung.com/",
)
_THUMBNAILS = (_XAP, "Thumbnails")
_UPRIGHT = (_TIFF, "Orientation")
# Of the whole of a packet in letters of more bytes than one: how it begins.
_WIDE = {
    b"\xff\xfe\0\0": "utf-32",
    b"\0\0\xfe\xff": "utf-32",
    b"\xff\xfe": "utf-16",
    b"\xfe\xff": "utf-16",
    b"<\0\0\0": "utf-32-le",
    b"\0\0\0<": "utf-32-be",
    b"<\0": "utf-16-le",
    b"\0<": "utf-16-be",
}
_PLACE = re.compile(
    r"(?i:gps|latitude|longitude|altitude)|^lat$|^long?$|[a-z](Lat|Long?|Alt)$|^alt$"
)
_OF_PLACES = "http://www.w3.org/2003/01/geo/"
_SEEMS_PLACE = re.compile(rb"(?i:gps|latitude|longitude|altitude|:lat\b|:long?\b)|[a-z](Lat|Lon)\b")
_REGIONS = ("http://www.metadataworkinggroup.com/schemas/regions/", "Regions")
# What stands in a packet that says such things, whether it is XML or not.
_WORDS = (*(one.encode() for one in _ANNOUNCING), b"GCamera:", b"Container:", b"hdrgm:")
_OF_MORE_XMP = b"http://ns.adobe.com/xmp/note/"
# Packets that are taken apart; they take 20 to 50 times as much memory meanwhile.
_MOST_BYTES = 2**20
_PROGRAM = re.compile(
    rb"""\w:(?:CreatorTool|Software|softwareAgent)(?:\s*=\s*["']|\s*>)([^<"']{1,200})"""
)
# Of packets that are not taken apart.
_ORIENTATION = re.compile(rb"(tiff:Orientation(?:>|\s*=\s*[\"']))[1-8](?=[<\"'])")


def is_begun(xmp: bytes) -> bool:
    """Whether bytes begin as a packet does, in whatever encoding."""
    return xmp.lstrip(b"\0 \t\r\n\xef\xbb\xbf").startswith((b"<?x", b"<x:", b"<rdf:", *_WIDE))


def programs(xmp: bytes) -> list[str]:
    """The programs that a packet says have made or changed the picture."""
    return [one.decode("utf-8", "replace").strip() for one in _PROGRAM.findall(in_utf8(xmp))]


def in_utf8(xmp: bytes) -> bytes:
    """The same packet in UTF-8, which outputs have; as it is if it is in no other encoding."""
    coding = next((name for head, name in _WIDE.items() if xmp.startswith(head)), None)
    try:
        return xmp.decode(coding).rstrip("\0").encode() if coding else xmp
    except UnicodeError:
        return xmp


def upright(xmp: bytes) -> bytes:
    """The same packet saying orientation 1."""
    said = _with_values(xmp, {_UPRIGHT: "1"})
    return _ORIENTATION.sub(rb"\g<1>1", xmp) if said is None else said


def fitted(xmp: bytes, height: int, width: int) -> bytes:
    """The same packet for a picture of this size."""
    columns, rows = str(width), str(height)
    sizes = {(_TIFF, "ImageWidth"): columns, (_TIFF, "ImageLength"): rows}
    sizes |= {(_EXIF, "PixelXDimension"): columns, (_EXIF, "PixelYDimension"): rows}
    return _with_values(xmp, sizes) or xmp


def without_regions(xmp: bytes) -> bytes:
    """The packet without the places of faces and other subjects in the picture."""
    return _without(xmp, lambda name: name == _REGIONS, False) or xmp


def region_size(xmp: bytes) -> tuple[str, str] | None:
    """Columns and rows that the places of subjects suppose; None if there are no places."""
    packet = _parsed(xmp) if _REGIONS[0].encode() in xmp else None
    for one in _elements(packet) if packet is not None else ():
        if _name(one) == (_REGIONS[0], "AppliedToDimensions"):
            return _stated(one, "w"), _stated(one, "h")
    return None


def _stated(element: Element, letter: str) -> str:
    """A value of an element, in whichever notation; empty if it has none."""
    for attribute in (element.attributes or {}).values():
        if _name(attribute)[1] == letter:
            return str(attribute.value).strip()
    for child in element.getElementsByTagName("*"):
        if child.localName == letter and child.firstChild is not None:
            return str(child.firstChild.nodeValue or "").strip()
        for attribute in (child.attributes or {}).values():
            if _name(attribute)[1] == letter:
                return str(attribute.value).strip()
    return ""


def _with_values(xmp: bytes, values: Mapping[Name, str]) -> bytes | None:
    """The packet with these values where it states such; None if it is no XML."""
    packet = _parsed(xmp)
    if packet is None:
        return None
    if not sum(_set(one, values) for one in _elements(packet)):  # all, not any
        return xmp
    return _written(packet)


def stripped(xmp: bytes) -> bytes | None:
    """The packet without what announces bytes behind the picture, and without thumbnails.

    Returns
    -------
    bytes, optional
        The very same if it has none of these; None if it seems to have but is no XML, or is
        too long to be taken apart.
    """
    return _without(xmp, _announces, any(word in xmp for word in _WORDS))


def is_announcing(xmp: bytes) -> bool:
    """Whether a packet seems to announce bytes behind the picture, other than more XMP."""
    return any(word in xmp for word in _WORDS if word != _OF_MORE_XMP)


def without_gps(xmp: bytes) -> bytes | None:
    """The packet without places on the earth; None if it is no XML and seems to have some."""
    return _without(xmp, _is_place, _SEEMS_PLACE.search(xmp) is not None)


def _announces(name: Name) -> bool:
    return name[0].startswith(_ANNOUNCING) or name == _THUMBNAILS


def _is_place(name: Name) -> bool:
    return name[0].startswith(_OF_PLACES) or _PLACE.search(name[1]) is not None


def _without(xmp: bytes, unwanted: Callable[[Name], bool], seems: bool) -> bytes | None:
    packet = _parsed(xmp)
    if packet is None:
        return None if seems else xmp
    if not sum(_pruned(one, unwanted) for one in _elements(packet)):  # all, not any
        return xmp
    return _written(packet)


def _parsed(xmp: bytes) -> Element | None:
    if len(xmp) > _MOST_BYTES or b"<!DOCTYPE" in xmp:
        return None
    try:
        return minidom.parseString(xmp.strip(b"\0 \t\r\n"))
    except (ExpatError, ValueError, LookupError):
        return None


def _written(packet: Element) -> bytes | None:
    try:
        written: str = "".join(node.toxml() for node in packet.childNodes)
    except RecursionError:  # more elements in one another than anybody writes
        return None
    return written.encode()


def _elements(packet: Element) -> Iterator[Element]:
    """All elements, the outer ones first; those that are removed meanwhile are passed over."""
    waiting = [packet.documentElement]
    while waiting:
        element = waiting.pop()
        yield element
        waiting += (one for one in element.childNodes if one.nodeType == one.ELEMENT_NODE)


def _name(node: Element) -> Name:
    return node.namespaceURI or "", node.localName or node.nodeName


def _pruned(element: Element, unwanted: Callable[[Name], bool]) -> bool:
    """Remove unwanted properties of an element, and the prefixes of their namespaces."""
    gone = [
        one
        for one in element.childNodes
        if one.nodeType == one.ELEMENT_NODE and unwanted(_name(one))
    ]
    for one in gone:
        _remove(element, one)
    attributes = element.attributes or {}
    lost = [one for one in attributes.values() if unwanted(_named(one))]
    for one in lost:
        element.removeAttributeNode(one)
    return bool(gone or lost)


def _named(attribute: Element) -> Name:
    """The name of a property; for the declaration of a prefix, one of its namespace."""
    if attribute.namespaceURI == XMLNS_NAMESPACE:
        return attribute.value, ""
    return _name(attribute)


def _remove(element: Element, child: Element) -> None:
    """Remove a child with the space before it."""
    before = child.previousSibling
    if before is not None and before.nodeType == before.TEXT_NODE and not before.data.strip():
        element.removeChild(before)
    element.removeChild(child)


def _set(element: Element, values: Mapping[Name, str]) -> bool:
    """Set the values that an element states; whether any was another."""
    changed = False
    for attribute in (element.attributes or {}).values():
        wanted = values.get(_name(attribute))
        if wanted is not None and attribute.value != wanted:
            attribute.value, changed = wanted, True
    wanted, text = values.get(_name(element)), element.firstChild
    if wanted is not None and text is not None and text.nodeType == text.TEXT_NODE:
        changed |= text.data != wanted
        text.data = wanted
    return changed
