"""Which photographs of a shoot belong together: stacks proposed from names, times and looks."""

from batchstack.scan.grouping import Group, Left, Proposal, propose
from batchstack.scan.looks import Look, look_at
from batchstack.scan.shots import Shot, read_shot

__all__ = ["Group", "Left", "Look", "Proposal", "Shot", "look_at", "propose", "read_shot"]
