"""Gaussian and Laplacian pyramids: their sizes, and how far their filters look.

The pyramid is that of Burt and Adelson [1]_ as OpenCV computes it: a 5-tap binomial
filter, reflect-101 borders, and side lengths halved upwards, so that every size from
1x1 up can be reduced and collapses back to exactly its own size.

References
----------
.. [1] P. J. Burt and E. H. Adelson, "The Laplacian pyramid as a compact image code",
   IEEE Trans. Commun. 31(4), 1983. :DOI:`10.1109/TCOM.1983.1095851`
"""

# Pixels of a level on either side that one pixel of the neighbouring level depends on.
REDUCE_REACH = 2
EXPAND_REACH = 1


def level_shape(shape: tuple[int, int], level: int) -> tuple[int, int]:
    """Rows and columns of a pyramid level of an image of `shape` (rows, columns)."""
    step = 1 << level
    return -(-shape[0] // step), -(-shape[1] // step)
