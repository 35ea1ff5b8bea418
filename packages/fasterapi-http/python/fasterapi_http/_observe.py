"""Around an application: start and end of each request for observers, trace context, spans, deadlines.

None of it is there unless it is switched on; a server without it calls the application directly.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ._asgi import ASGIApp, Message, Receive, Scope, Send

if TYPE_CHECKING:
    from ._config import Config

_TRACEPARENT = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")
_MAX_TRACESTATE = 8192


@dataclass(frozen=True, slots=True)
class TraceContext:
    """The caller's place in a trace (W3C Trace Context)."""

    trace_id: str
    parent_id: str
    flags: int
    state: str = ""

    @property
    def sampled(self) -> bool:
        """Whether the caller records this trace."""
        return bool(self.flags & 1)

    @property
    def traceparent(self) -> str:
        """As a header field, to pass on."""
        return f"00-{self.trace_id}-{self.parent_id}-{self.flags:02x}"


trace_context: ContextVar[TraceContext | None] = ContextVar("fasterapi_trace_context", default=None)
"""Of the request that runs; set with ``Config(trace_context=True)`` or ``otel=True``."""


def parse_traceparent(value: bytes, state: bytes = b"") -> TraceContext | None:
    """Read a ``traceparent`` field; None for one that the specification tells to ignore."""
    match = _TRACEPARENT.fullmatch(value)
    if match is None:
        return None
    version, trace_id, parent_id, flags, rest = match.groups()
    if (
        version == b"ff"
        or (version == b"00" and rest)
        or not trace_id.strip(b"0")
        or not parent_id.strip(b"0")
    ):
        return None
    text = state.decode("latin-1") if len(state) <= _MAX_TRACESTATE else ""
    return TraceContext(trace_id.decode(), parent_id.decode(), int(flags, 16), text)


def context_of(scope: Scope) -> TraceContext | None:
    """The trace context of a request's header."""
    parents = [value for name, value in scope["headers"] if name == b"traceparent"]
    if len(parents) != 1:  # two of them: neither is believed
        return None
    return parse_traceparent(parents[0], b",".join(v for n, v in scope["headers"] if n == b"tracestate"))


def with_trace_context(app: ASGIApp) -> ASGIApp:
    """Sets ``trace_context`` and ``scope["trace_context"]``."""

    async def traced(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "lifespan":
            scope["trace_context"] = found = context_of(scope)
            trace_context.set(found)  # each request has its own contextvars
        await app(scope, receive, send)

    return traced


def with_hooks(
    app: ASGIApp,
    begun: Callable[[Scope], object] | None,
    ended: Callable[[Scope, int, float, BaseException | None], object] | None,
) -> ASGIApp:
    """Calls ``begun(scope)`` and ``ended(scope, status, seconds, exception)`` around each request.

    ``status`` is 0 when no answer was begun, 101 for a WebSocket that was accepted. What they raise is the request's.
    """

    async def hooked(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        status = 0
        began = time.perf_counter()

        async def watching(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if kind == "http.response.start":
                status = message["status"]
            elif kind == "websocket.accept":
                status = 101
            await send(message)

        if begun is not None:
            begun(scope)
        exception: BaseException | None = None
        try:
            await app(scope, receive, watching)
        except BaseException as error:
            exception = error
            raise
        finally:
            if ended is not None:
                ended(scope, status, time.perf_counter() - began, exception)

    return hooked


def with_spans(app: ASGIApp) -> ASGIApp:
    """A server span of OpenTelemetry for each request, the child of what the caller sent.

    Raises ImportError without opentelemetry-api.
    """
    from opentelemetry import trace  # type: ignore[import-not-found, unused-ignore]
    from opentelemetry.propagate import extract  # type: ignore[import-not-found, unused-ignore]

    tracer = trace.get_tracer("fasterapi_http")

    async def spanned(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await app(scope, receive, send)
        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        method = scope.get("method", "GET")
        attributes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": scope["path"],
            "url.scheme": scope["scheme"],
            "network.protocol.version": scope["http_version"],
        }
        if scope.get("client"):
            attributes["client.address"] = scope["client"][0]
        if scope["query_string"]:
            attributes["url.query"] = scope["query_string"].decode("latin-1")
        with tracer.start_as_current_span(
            method, context=extract(carrier), kind=trace.SpanKind.SERVER, attributes=attributes
        ) as span:

            async def watching(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= 500:
                        span.set_status(trace.Status(trace.StatusCode.ERROR))
                await send(message)

            await app(scope, receive, watching)
            route = scope.get("route")
            path = getattr(route, "path", None)
            if path:
                span.update_name(f"{method} {path}")
                span.set_attribute("http.route", path)

    return spanned


def with_deadline(app: ASGIApp, seconds: float | None, header: str | None) -> ASGIApp:
    """Cancels a request after ``seconds``, or after those that its field ``header`` says where they are fewer.

    The answer is 504 when none was begun; one that was begun is cut off.
    """
    name = header.lower().encode() if header else None

    async def limited(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await app(scope, receive, send)
        limit = seconds
        if name is not None:
            for field, value in scope["headers"]:
                if field == name:
                    asked = _seconds(value)
                    if asked is not None:
                        limit = asked if limit is None else min(asked, limit)
                    break
        if limit is None:
            return await app(scope, receive, send)
        started = False

        async def watching(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        deadline = asyncio.timeout(limit)
        try:
            async with deadline:
                await app(scope, receive, watching)
        except TimeoutError:
            if not deadline.expired() or started:
                raise  # the application's own, or an answer that cannot be completed
            await send(
                {
                    "type": "http.response.start",
                    "status": 504,
                    "headers": [(b"content-type", b"application/json")],
                }
            )
            await send(
                {"type": "http.response.body", "body": b'{"detail":"The deadline of the request has passed"}'}
            )

    return limited


def _seconds(value: bytes) -> float | None:
    """A number of seconds ("1.5"), or with a unit ("1500ms", "2s"); None for anything else."""
    match = re.fullmatch(rb"(\d{1,9}(?:\.\d{1,9})?)(ms|s)?", value)
    if match is None:
        return None
    number = float(match[1])
    return number / 1000 if match[2] == b"ms" else number


def wrap(app: ASGIApp, config: Config) -> ASGIApp:
    """The application with what the options switch on."""
    if config.request_deadline is not None or config.deadline_header is not None:
        app = with_deadline(app, config.request_deadline, config.deadline_header)
    if config.on_request_start is not None or config.on_request_end is not None:
        app = with_hooks(app, config.on_request_start, config.on_request_end)
    if config.trace_context:
        app = with_trace_context(app)
    if config.otel:
        app = with_spans(app)
    return app
