"""Rectangles of pixels in whole numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Box:
    """A rectangle of pixels: rows top to bottom, columns left to right, ends excluded."""

    top: int
    left: int
    bottom: int
    right: int

    @property
    def shape(self) -> tuple[int, int]:
        return self.bottom - self.top, self.right - self.left

    @property
    def slices(self) -> tuple[slice, slice]:
        return slice(self.top, self.bottom), slice(self.left, self.right)

    def within(self, outer: "Box") -> "Box":
        """The same box in coordinates that start at `outer`'s corner."""
        return Box(
            self.top - outer.top,
            self.left - outer.left,
            self.bottom - outer.top,
            self.right - outer.left,
        )

    def grown(self, pixels: int) -> "Box":
        return Box(self.top - pixels, self.left - pixels, self.bottom + pixels, self.right + pixels)

    def aligned(self, step: int, shape: tuple[int, int]) -> "Box":
        """Grown to multiples of `step`, then clipped to an image of `shape`."""
        return Box(
            max(self.top // step * step, 0),
            max(self.left // step * step, 0),
            min(-(-self.bottom // step) * step, shape[0]),
            min(-(-self.right // step) * step, shape[1]),
        )

    def union(self, other: "Box") -> "Box":
        return Box(
            min(self.top, other.top),
            min(self.left, other.left),
            max(self.bottom, other.bottom),
            max(self.right, other.right),
        )

    def intersection(self, other: "Box") -> "Box":
        return Box(
            max(self.top, other.top),
            max(self.left, other.left),
            min(self.bottom, other.bottom),
            min(self.right, other.right),
        )

    def halved(self) -> "Box":
        """The pixels of the next coarser level that lie on or round this box."""
        return Box(self.top // 2, self.left // 2, -(-self.bottom // 2), -(-self.right // 2))

    def doubled(self) -> "Box":
        """The pixels of the next finer level at the centres of this box's pixels."""
        return Box(2 * self.top, 2 * self.left, 2 * self.bottom - 1, 2 * self.right - 1)

    def expanded(self, shape: tuple[int, int]) -> "Box":
        """What `expand` makes of this box on the next finer level, which has `shape`."""
        return Box(
            2 * self.top,
            2 * self.left,
            min(2 * self.bottom, shape[0]),
            min(2 * self.right, shape[1]),
        )
