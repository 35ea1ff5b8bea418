"""Limits of a server, as one value."""

from __future__ import annotations

from dataclasses import asdict, dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a client may ask of the server; every limit is on by default.

    Sizes are bytes, times milliseconds. The answer when a limit is hit is in brackets.
    """

    max_uri_bytes: int = 8 * 1024
    """Request target [414]."""
    max_header_bytes: int = 32 * 1024
    """All header fields together [431]."""
    max_headers: int = 100
    """Number of header fields, at most 100 [431]."""
    max_body_bytes: int = 10 * 1024 * 1024
    """Request body; a route may have its own [413]."""
    max_chunk_extension_bytes: int = 1024
    """Chunk extensions of one body together [400]."""
    max_trailer_bytes: int = 8 * 1024
    """Trailer section [431]."""
    max_trailers: int = 32
    """Number of trailer fields [431]."""
    header_timeout_ms: int = 10_000
    """From the first byte of a request to the end of its head [408]."""
    tls_handshake_timeout_ms: int = 10_000
    """From the accepted connection to the end of its TLS handshake; it is then closed."""
    body_grace_ms: int = 5_000
    """Before the minimum rate of a body counts [408]."""
    min_body_bytes_per_second: int = 1024
    """Average rate of a request body [408]."""
    max_inflate_ratio: int = 100
    """How many times larger a decoded request body may be than what was sent, above 64 KiB [413]."""
    body_window_bytes: int = 64 * 1024
    """A streamed request body is read ahead of its reader by this much; shorter bodies are read whole first."""
    max_discard_bytes: int = 64 * 1024
    """Unread rest of a request body that is skipped after the answer; with more the connection ends."""
    write_stall_ms: int = 30_000
    """A client is cut off that takes less than ``write_window_bytes`` of its answer in this time."""
    write_window_bytes: int = 64 * 1024
    """What a client has to take of a waiting answer within ``write_stall_ms``."""
    max_unsent_bytes: int = 64 * 1024
    """What may wait for a client before its answer is held back."""
    keep_alive_ms: int = 30_000
    """An idle connection is closed after this."""
    max_pipelined: int = 16
    """Requests of one connection that may wait while one is answered."""
    max_ws_message_bytes: int = 1024 * 1024
    """A WebSocket message, all its fragments together and after inflating [close code 1009]."""
    max_ws_fragments: int = 64
    """Frames of one WebSocket message [1008]."""
    max_ws_queue: int = 16
    """Messages that wait for the application before reading pauses."""
    max_ws_inflate_ratio: int = 100
    """Bytes out per byte in of a compressed message beyond 1 MiB; 0: any [1009]."""
    ws_ping_interval_ms: int = 20_000
    """Between the pings of a WebSocket; 0: none."""
    ws_ping_timeout_ms: int = 20_000
    """A WebSocket that does not answer a ping for this long is closed; 0: never [1011]."""
    ws_close_timeout_ms: int = 10_000
    """For the peer to answer a close frame."""
    max_connections: int = 0
    """Open connections; 0: 80 % of the descriptor limit [503]."""
    max_connections_per_address: int = 0
    """Of one /24 or /64, loopback excepted; 0: a quarter of max_connections [503]."""

    def as_dict(self) -> dict[str, int]:
        """The limits by name."""
        return asdict(self)
