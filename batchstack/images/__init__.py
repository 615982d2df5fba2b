"""The only pixel I/O: headers, whole images, scratch windows, outputs and their verification.

Pixels are (H, W) grey or (H, W, 3) RGB, of one of `formats.DTYPES`, the right way up.
What differs between formats stands in `formats.FORMATS` and in their codecs, which are
imported when the first file of their kind is met.
"""

from batchstack.images.info import Empty, Encoding, ImageInfo, Metadata, Pixels, Written
from batchstack.images.inherit import scaled
from batchstack.images.preview import is_shown, read_preview, reduced
from batchstack.images.probe import image_kind, probe
from batchstack.images.read import (
    damaged_digest,
    file_digest,
    read_image,
    read_image_and_digest,
    read_metadata,
    same_colours,
)
from batchstack.images.resize import cropped, resized
from batchstack.images.scratch import (
    StagedImage,
    stage_image,
    write_npy,
    write_npy_files,
    write_npy_pieces,
    write_npy_rows,
)
from batchstack.images.verify import check_image
from batchstack.images.write import encoded, output_format, write_image, write_image_rows

__all__ = [
    "Empty",
    "Encoding",
    "ImageInfo",
    "Metadata",
    "Pixels",
    "StagedImage",
    "Written",
    "check_image",
    "cropped",
    "damaged_digest",
    "encoded",
    "file_digest",
    "image_kind",
    "is_shown",
    "output_format",
    "probe",
    "read_image",
    "read_image_and_digest",
    "read_metadata",
    "read_preview",
    "reduced",
    "resized",
    "same_colours",
    "scaled",
    "stage_image",
    "write_image",
    "write_image_rows",
    "write_npy",
    "write_npy_files",
    "write_npy_pieces",
    "write_npy_rows",
]
