"""Fusion of Dask arrays: lazy, tile by tile, with the pixels of `batchstack.fuse`."""

from batchstack.lazy.pipeline import fuse_dask

__all__ = ["fuse_dask"]
