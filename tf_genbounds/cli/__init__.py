"""The command line."""

from tf_genbounds.cli.main import main

__all__ = ["main"]
