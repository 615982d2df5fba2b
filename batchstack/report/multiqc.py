"""The list of stacks as a table that MultiQC takes in as custom content [1]_.

References
----------
.. [1] https://docs.seqera.io/multiqc/custom_content
"""

from collections.abc import Iterable
from typing import Any, Protocol

MARK = b"# id: batchstack\n"
"""How the file begins."""

_HEAD = """\
# section_name: batchstack
# description: Fused focus stacks
# plot_type: table
# file_format: tsv
"""
_COLUMNS = {
    "status": "Status",
    "quality": "Quality",
    "artefacts": "Artefacts, %",
    "confidence": "Depth confidence",
    "frames": "Frames",
    "megapixels": "Megapixels",
    "seconds": "Seconds",
    "cropped": "Cropped, %",
    "residual": "Residual, px",
}


class Listed(Protocol):
    """What is needed of a stack; `write.Line` has it."""

    @property
    def id(self) -> str: ...


def table(lines: Iterable[Listed]) -> bytes:
    """The table, one line for each stack; what is not known is left empty."""
    rows = ["\t".join(["Sample", *_COLUMNS.values()])]
    rows += [
        "\t".join(map(_cell, [line.id, *(getattr(line, name) for name in _COLUMNS)]))
        for line in lines
    ]
    return MARK + (_HEAD + "\n".join(rows) + "\n").encode(errors="replace")


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, float):
        return f"{value:.6g}"
    return " ".join(str(value).split())
