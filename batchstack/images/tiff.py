"""TIFF: tifffile and imagecodecs read and write it, band by band."""

from batchstack.images.tiff_read import read_header, read_metadata, read_pieces
from batchstack.images.tiff_write import write_rows

__all__ = ["read_header", "read_metadata", "read_pieces", "write_rows"]
