"""The ``fasterapi`` command: ``run``, ``dev``, ``routes``, ``schema``."""

from .commands import main

__all__ = ["main"]
