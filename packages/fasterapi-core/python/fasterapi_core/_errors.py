"""The root of the family's exceptions."""

from __future__ import annotations


class FasterAPIError(Exception):
    """Base of every exception that the FasterAPI packages define.

    ``code`` is a stable machine-readable name such as ``"pg.pool_timeout"``; the text says what happened,
    the limit that applied and the option that changes it.
    """

    code: str = "fasterapi.error"
