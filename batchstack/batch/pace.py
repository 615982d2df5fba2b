"""How far a run is and how long it is going to take, by what it has done itself.

What was done before a run was resumed says nothing of its pace, and what fails at once even less:
so only megapixels count that were fused since it began, those of stacks under way in part.
"""

from dataclasses import dataclass

# Seconds from which on a pace is one: a first stack that is done at once is no sign of it.
_TELLING = 2.0


@dataclass
class Pace:
    """What there is to do, and what is done of it.

    Attributes
    ----------
    stacks : int
        That the run is to fuse.
    megapixels : float
        Of all their frames.
    done, failed : int
        Stacks.
    fused, given_up : float
        Megapixels of the frames of stacks that are done, and that have failed.
    """

    stacks: int
    megapixels: float
    done: int = 0
    failed: int = 0
    fused: float = 0.0
    given_up: float = 0.0

    def take(self, megapixels: float) -> None:
        """A stack is done."""
        self.done += 1
        self.fused += megapixels

    def give_up(self, megapixels: float) -> None:
        """A stack has failed."""
        self.failed += 1
        self.given_up += megapixels

    @property
    def ended(self) -> int:
        """Stacks that are done or have failed."""
        return self.done + self.failed

    def share(self, within: float = 0.0) -> float:
        """Of the work that is over, from 0 to 1.

        Parameters
        ----------
        within : float
            Megapixels that are done of stacks under way.
        """
        if self.megapixels <= 0:
            return 1.0 if self.ended >= self.stacks else 0.0
        return min((self.fused + self.given_up + within) / self.megapixels, 1.0)

    def rate(self, seconds: float, within: float = 0.0) -> float | None:
        """Megapixels a second since the run began, None while it is too early to tell."""
        worked = self.fused + within
        return worked / seconds if seconds >= _TELLING and worked > 0 else None

    def seconds_left(self, seconds: float, within: float = 0.0) -> float | None:
        """Seconds until all is done at the pace of so far; None while it is too early to tell."""
        rate = self.rate(seconds, within)
        left = self.megapixels - self.fused - self.given_up - within
        return None if rate is None else max(left, 0.0) / rate
