"""Quality measures of a fused image, with and without a known truth.

The measures see grey float64 images on 0..255, the unit of 8-bit code values; `grey` makes them.
All of them but `artefacts` are 'higher is better'.
Those without a truth compare the fused image with the frames it was made from and can be fooled,
because they reward keeping what is in a frame, noise included: read PSNR beside them where a
truth exists.

For stacks of more than two frames each measure is extended so that two frames give exactly the
published definition; the docstrings say how.
They look at one frame after the other, so that memory does not depend on their number.
"""

from batchstack.quality.edges import qabf
from batchstack.quality.fidelity import psnr, ssim
from batchstack.quality.information import nmi
from batchstack.quality.luma import grey
from batchstack.quality.perception import qcb
from batchstack.quality.scores import (
    ARTEFACTS,
    MEASURES,
    MOST_PIXELS,
    QSHARP,
    RECOMMENDED,
    WHOLE_PIXELS,
    WINDOW,
    score,
    score_windows,
    windows,
)
from batchstack.quality.sharpest import artefacts, qsharp
from batchstack.quality.structure import qy

__all__ = [
    "ARTEFACTS",
    "MEASURES",
    "MOST_PIXELS",
    "QSHARP",
    "RECOMMENDED",
    "WHOLE_PIXELS",
    "WINDOW",
    "artefacts",
    "grey",
    "nmi",
    "psnr",
    "qabf",
    "qcb",
    "qsharp",
    "qy",
    "score",
    "score_windows",
    "ssim",
    "windows",
]
