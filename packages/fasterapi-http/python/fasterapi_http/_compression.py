"""Which answers a server compresses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ._http import available_codings


@dataclass(frozen=True, slots=True, kw_only=True)
class Compression:
    """Compression of answers by what the client accepts, with ``Vary``.

    Texts, JSON, XML and the like are compressed, in one piece or, flushed after each piece, as they are streamed.
    What is coded already, a part of something, or marked ``no-transform`` is left alone, and so are files.
    ``Server`` raises RuntimeError for a coding whose library the build lacks.
    """

    codings: Sequence[str] = tuple(available_codings())
    """In order of preference among those that the client likes equally: "br", "zstd", "gzip"."""
    minimum_size: int = 500
    """Bytes below which a body is not compressed."""
    maximum_size: int = 4 * 1024 * 1024
    """Bytes above which a body in one piece is not: it would hold up the loop."""
    gzip_level: int = 5
    br_level: int = 4
    zstd_level: int = 3

    def native(self) -> dict[str, Any]:
        """What the native server takes."""
        return asdict(self)
