"""Forms: urlencoded and multipart/form-data (RFC 7578), strict and with limits, in plain Python.

The parser is fed pieces and never holds more than one part's header, one field or one chunk of a file in
memory.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from tempfile import SpooledTemporaryFile
from typing import Any, cast
from urllib.parse import unquote, unquote_to_bytes

from .concurrency import run_in_threadpool
from .datastructures import FormData, Headers, UploadFile

SPOOL_MAX_SIZE = 1024 * 1024  # bytes kept in memory per file before it moves to disk
MAX_PART_HEADERS = 16 * 1024  # bytes of one part's header block
MAX_BOUNDARY = 256  # RFC 2046 allows 70; be lenient but bounded

_PARAM = re.compile(r';\s*([\w!#$%&\'*+.^`|~-]+)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]*))')


class FormError(ValueError):
    """The body is not a valid form or passes a limit."""


def parse_options(value: str) -> tuple[str, dict[str, str]]:
    """Split ``form-data; name="x"`` into its value and its parameters (names in lower case)."""
    head, _, rest = value.partition(";")
    options: dict[str, str] = {}
    for match in _PARAM.finditer(";" + rest):
        name, quoted, plain = match.groups()
        # Browsers percent-encode quotes in file names and escape nothing else (HTML standard,
        # multipart/form-data).
        text = plain if quoted is None else quoted.replace('\\"', '"').replace("\\\\", "\\")
        name = name.lower()
        if name.endswith("*") and "''" in text:
            charset, _, encoded = text.partition("''")
            options[name[:-1]] = unquote(encoded, encoding=charset or "utf-8")
        else:
            options.setdefault(name, text)
    return head.strip().lower(), options


async def parse_form(
    content_type: str,
    stream: AsyncIterator[bytes],
    *,
    max_files: float = 1000,
    max_fields: float = 1000,
    max_part_size: int = 1024 * 1024,
) -> FormData:
    """Read ``stream`` as the form that ``content_type`` announces; other types give an empty form.

    FormError when the body is malformed or has more parts than allowed.
    """
    kind, options = parse_options(content_type)
    if kind == "application/x-www-form-urlencoded":
        return await _parse_urlencoded(stream, max_fields, max_part_size)
    if kind == "multipart/form-data":
        boundary = options.get("boundary")
        if not boundary:
            raise FormError("Missing boundary in multipart.")
        if len(boundary) > MAX_BOUNDARY:
            raise FormError("Boundary of the multipart body is too long.")
        charset = options.get("charset", "utf-8")
        parser = _Multipart(boundary.encode("latin-1"), charset, max_files, max_fields, max_part_size)
        return await parser.run(stream)
    return FormData()


async def _parse_urlencoded(stream: AsyncIterator[bytes], max_fields: float, max_part_size: int) -> FormData:
    data = bytearray()
    budget = max_part_size * max_fields
    async for chunk in stream:
        data += chunk
        if len(data) > budget:
            raise FormError("Form is too large.")
    items: list[tuple[str, UploadFile | str]] = []
    for pair in bytes(data).split(b"&"):
        if not pair:
            continue
        if len(items) >= max_fields:
            raise FormError(f"Too many fields. Maximum number of fields is {int(max_fields)}.")
        if len(pair) > max_part_size:
            raise FormError(f"Field exceeded maximum size of {max_part_size // 1024}KB.")
        name, _, value = pair.partition(b"=")
        decoded = [
            unquote_to_bytes(part.replace(b"+", b" ")).decode("utf-8", "replace") for part in (name, value)
        ]
        items.append((decoded[0], decoded[1]))
    return FormData(items)


class _Multipart:
    """State of one multipart body."""

    def __init__(
        self, boundary: bytes, charset: str, max_files: float, max_fields: float, max_part_size: int
    ) -> None:
        self.delimiter = b"\r\n--" + boundary
        self.charset = charset
        self.max_files = max_files
        self.max_fields = max_fields
        self.max_part_size = max_part_size
        self.files = 0
        self.fields = 0
        self.items: list[tuple[str, UploadFile | str]] = []
        self.opened: list[UploadFile] = []

    async def run(self, stream: AsyncIterator[bytes]) -> FormData:
        try:
            await self._parse(stream)
        except BaseException:
            for file in self.opened:
                file.file.close()
            raise
        for file in self.opened:
            await file.seek(0)
        return FormData(self.items)

    async def _parse(self, stream: AsyncIterator[bytes]) -> None:
        # A leading CRLF makes the first delimiter look like all others.
        reader = _Reader(stream, b"\r\n")
        async for piece in reader.until(self.delimiter):
            if piece.strip(b"\r\n"):
                # A preamble is legal in MIME but no form client sends one.
                raise FormError("Unexpected data before the first boundary.")
        while True:
            if await reader.starts_with(b"--"):
                await reader.drain()
                return
            await reader.skip_blanks()
            if not await reader.starts_with(b"\r\n"):
                raise FormError("Malformed boundary in multipart.")
            await self._part(reader)

    async def _part(self, reader: _Reader) -> None:
        headers = await self._headers(reader)
        disposition, options = parse_options(headers.get("content-disposition", ""))
        if disposition != "form-data" or "name" not in options:
            raise FormError('The Content-Disposition header field "name" must be provided.')
        name = options["name"]
        if "filename" in options:
            self.files += 1
            if self.files > self.max_files:
                raise FormError(f"Too many files. Maximum number of files is {int(self.max_files)}.")
            spool = cast(Any, SpooledTemporaryFile(max_size=SPOOL_MAX_SIZE))
            file = UploadFile(spool, size=0, filename=options["filename"], headers=headers)
            self.opened.append(file)
            async for piece in reader.until(self.delimiter):
                await file.write(piece)
            self.items.append((name, file))
            return
        self.fields += 1
        if self.fields > self.max_fields:
            raise FormError(f"Too many fields. Maximum number of fields is {int(self.max_fields)}.")
        value = bytearray()
        async for piece in reader.until(self.delimiter):
            value += piece
            if len(value) > self.max_part_size:
                raise FormError(f"Part exceeded maximum size of {self.max_part_size // 1024}KB.")
        try:
            self.items.append((name, value.decode(self.charset)))
        except (UnicodeDecodeError, LookupError):
            self.items.append((name, value.decode("latin-1")))

    async def _headers(self, reader: _Reader) -> Headers:
        block = await reader.header_block(MAX_PART_HEADERS)
        raw: list[tuple[bytes, bytes]] = []
        for line in block.split(b"\r\n"):
            if not line:
                continue
            name, colon, value = line.partition(b":")
            if not colon or not name or name != name.strip():
                raise FormError("Malformed header in multipart.")
            # Names and file names arrive as UTF-8 from every browser; header text is handled as latin-1 text
            # elsewhere.
            raw.append((name.lower(), value.strip()))
        decoded = [(name, _utf8(value)) for name, value in raw]
        return _PartHeaders(decoded, raw)


def _utf8(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _PartHeaders(Headers):
    """Headers of a part: values are UTF-8."""

    def __init__(self, decoded: list[tuple[bytes, str]], raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._decoded = decoded

    def __getitem__(self, key: str) -> str:
        wanted = key.lower().encode("latin-1")
        for name, value in self._decoded:
            if name == wanted:
                return value
        raise KeyError(key)


class _Reader:
    """Looks for delimiters in a stream of pieces without joining them all."""

    def __init__(self, stream: AsyncIterator[bytes], start: bytes) -> None:
        self._stream = stream
        self._buffer = bytearray(start)
        self._ended = False

    async def _more(self) -> None:
        while True:
            try:
                chunk = await anext(self._stream)
            except StopAsyncIteration:
                self._ended = True
                raise FormError("Multipart body ended too early.") from None
            if chunk:
                self._buffer += chunk
                return

    async def starts_with(self, prefix: bytes) -> bool:
        """Consume ``prefix`` if it comes next."""
        while len(self._buffer) < len(prefix):
            await self._more()
        if self._buffer.startswith(prefix):
            del self._buffer[: len(prefix)]
            return True
        return False

    async def skip_blanks(self) -> None:
        """Skip transport padding after a boundary (RFC 2046 section 5.1.1)."""
        while True:
            while not self._buffer:
                await self._more()
            if self._buffer[0] not in b" \t":
                return
            del self._buffer[0]

    async def until(self, delimiter: bytes) -> AsyncIterator[bytes]:
        """Yield the bytes before ``delimiter`` and consume it."""
        while True:
            at = self._buffer.find(delimiter)
            if at >= 0:
                piece = bytes(self._buffer[:at])
                del self._buffer[: at + len(delimiter)]
                if piece:
                    yield piece
                return
            keep = len(delimiter) - 1
            if len(self._buffer) > keep:
                piece = bytes(self._buffer[:-keep])
                del self._buffer[:-keep]
                yield piece
            await self._more()

    async def header_block(self, limit: int) -> bytes:
        """Return the lines up to the empty one."""
        if self._buffer.startswith(b"\r\n"):
            del self._buffer[:2]
            return b""
        while (at := self._buffer.find(b"\r\n\r\n")) < 0:
            if len(self._buffer) > limit:
                raise FormError("Headers of a multipart part are too large.")
            await self._more()
        block = bytes(self._buffer[:at])
        del self._buffer[: at + 4]
        return block

    async def drain(self) -> None:
        """Read what is left: the epilogue."""
        async for _ in self._stream:
            pass


async def read_in_thread(file: UploadFile) -> bytes:
    """Return the content of ``file`` without moving its position."""
    position = await run_in_threadpool(file.file.tell)
    try:
        return await file.read()
    finally:
        await file.seek(position)


__all__ = ["FormError", "parse_form", "parse_options"]
