"""batchstack: a distributed batch processor for focus stacking."""

__version__ = "0.1.0"
