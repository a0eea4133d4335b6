"""Data sets by name, and what users call data as checked batches."""

from tf_genbounds.data.datasets import load

__all__ = ["load"]
