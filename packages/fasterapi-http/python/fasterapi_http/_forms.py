"""Forms: ``parse_form`` reads a body as it arrives; uploads are spooled to disk off the loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from tempfile import SpooledTemporaryFile
from typing import IO, Any, Protocol, TypeVar

from ._http import MultipartParser, UrlencodedParser, parse_parameters

SPOOL_MAX_SIZE = 1024 * 1024  # bytes kept in memory per file before it moves to disk
MAX_FILES = 100
MAX_FIELDS = 1000
MAX_PART_SIZE = 1024 * 1024


class FormError(ValueError):
    """The body is not a valid form or passes a limit."""


class Upload(Protocol):
    """What ``parse_form`` writes a file to."""

    file: Any

    async def write(self, data: bytes, /) -> None: ...
    async def seek(self, offset: int, /) -> None: ...


AnyUpload = TypeVar("AnyUpload", bound=Upload)
MakeUpload = Callable[[IO[bytes], str, list[tuple[bytes, bytes]]], AnyUpload]


class UploadFile:
    """An uploaded file: in memory up to ``SPOOL_MAX_SIZE`` bytes, then on disk, where it is used in threads.

    ``filename`` is what the client calls it, without directories; ``headers`` are those of its part.
    """

    def __init__(self, file: IO[bytes], filename: str, headers: list[tuple[bytes, bytes]]) -> None:
        self.file = file
        self.filename = filename
        self.headers = {name.decode("latin-1"): value.decode("utf-8", "replace") for name, value in headers}
        self.size = 0

    @property
    def content_type(self) -> str | None:
        """The part's Content-Type, if the client sent one."""
        return self.headers.get("content-type")

    def _on_disk(self, more: int = 0) -> bool:
        if getattr(self.file, "_rolled", True):
            return True
        limit = getattr(self.file, "_max_size", 0)
        return bool(limit) and self.file.tell() + more > limit

    async def _run(self, on_disk: bool, function: Callable[..., Any], *args: Any) -> Any:
        if not on_disk:
            return function(*args)
        return await asyncio.get_running_loop().run_in_executor(None, function, *args)

    async def write(self, data: bytes) -> None:
        """Write at the current position."""
        self.size += len(data)
        await self._run(self._on_disk(len(data)), self.file.write, data)

    async def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes (all by default)."""
        data: bytes = await self._run(self._on_disk(), self.file.read, size)
        return data

    async def seek(self, offset: int) -> None:
        """Move to byte ``offset``."""
        await self._run(self._on_disk(), self.file.seek, offset)

    async def close(self) -> None:
        """Close the file; what was spooled is deleted."""
        await self._run(self._on_disk(), self.file.close)

    def __repr__(self) -> str:
        return f"UploadFile(filename={self.filename!r}, size={self.size!r})"


class FormData(Mapping[str, "str | UploadFile"]):
    """The fields of a form in order; of equal names the last one counts, ``getlist`` gives all."""

    def __init__(self, items: list[tuple[str, str | UploadFile]]) -> None:
        self._items = items
        self._last = dict(items)

    def __getitem__(self, name: str) -> str | UploadFile:
        return self._last[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._last)

    def __len__(self) -> int:
        return len(self._last)

    def getlist(self, name: str) -> list[str | UploadFile]:
        """Return every value of a name."""
        return [value for key, value in self._items if key == name]

    def multi_items(self) -> list[tuple[str, str | UploadFile]]:
        """Return every pair in order."""
        return list(self._items)

    async def close(self) -> None:
        """Close the files."""
        for _, value in self._items:
            if isinstance(value, UploadFile):
                await value.close()

    def __repr__(self) -> str:
        return f"FormData({self._items!r})"


async def parse_form(
    content_type: str,
    stream: AsyncIterator[bytes],
    make_upload: MakeUpload[AnyUpload],
    *,
    max_files: float = MAX_FILES,
    max_fields: float = MAX_FIELDS,
    max_part_size: int = MAX_PART_SIZE,
) -> list[tuple[str, str | AnyUpload]]:
    """Read ``stream`` as the form that ``content_type`` announces; another type gives no fields.

    ``make_upload(file, filename, headers)`` makes what stands for an uploaded file. ``max_part_size`` (bytes) bounds
    each field that is no file. Raises FormError when the body is malformed or passes a limit.
    """
    kind, options = parse_parameters(content_type.encode("utf-8", "replace"))
    if kind == "application/x-www-form-urlencoded":
        pairs = UrlencodedParser(max_fields, max_part_size)
        fields: list[tuple[str, str | AnyUpload]] = []
        async for chunk in stream:
            if chunk:
                fields += pairs.feed(chunk)
        return fields + pairs.finish()
    if kind != "multipart/form-data":
        return []
    boundary = options.get("boundary")
    if not boundary:
        raise FormError("Missing boundary in multipart.")
    charset = options.get("charset", "utf-8")
    parser = MultipartParser(boundary.encode("utf-8", "replace"), max_files, max_fields, max_part_size)
    return await _read_multipart(parser, stream, charset, make_upload)


async def _read_multipart(
    parser: MultipartParser, stream: AsyncIterator[bytes], charset: str, make_upload: MakeUpload[AnyUpload]
) -> list[tuple[str, str | AnyUpload]]:
    items: list[tuple[str, str | AnyUpload]] = []
    uploads: list[AnyUpload] = []
    current: AnyUpload | None = None
    try:
        async for chunk in stream:
            for event in parser.feed(chunk) if chunk else ():
                if event is None:
                    current = None
                elif isinstance(event, bytes):
                    assert current is not None
                    await current.write(event)
                elif len(event) == 2:
                    items.append((_text(event[0], charset), _text(event[1], charset)))
                else:
                    name, filename, headers = event
                    spool: Any = SpooledTemporaryFile(max_size=SPOOL_MAX_SIZE)
                    current = make_upload(spool, _text(filename, charset), headers)
                    uploads.append(current)
                    items.append((_text(name, charset), current))
        if not parser.done:
            raise FormError("Multipart body ended too early.")
        for upload in uploads:
            await upload.seek(0)
    except BaseException:
        for upload in uploads:
            upload.file.close()
        raise
    return items


def _text(value: bytes, charset: str) -> str:
    try:
        return value.decode(charset)
    except (UnicodeDecodeError, LookupError):
        return value.decode("latin-1")


async def read_form(
    request: Any,
    *,
    max_files: float = MAX_FILES,
    max_fields: float = MAX_FIELDS,
    max_part_size: int = MAX_PART_SIZE,
) -> FormData:
    """Return the form of a request; HTTPException(400) when it is malformed or passes a limit."""
    from ._exceptions import HTTPException

    content_type = request.headers.get("content-type") or ""
    try:
        items = await parse_form(
            content_type,
            request.stream(),
            UploadFile,
            max_files=max_files,
            max_fields=max_fields,
            max_part_size=max_part_size,
        )
    except FormError as error:
        raise HTTPException(400, str(error)) from error
    return FormData(items)
