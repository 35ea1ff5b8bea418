"""Forms: ``fasterapi_http``'s parsers with the classes of this package."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import IO, Any, cast

from fasterapi_http import FormError
from fasterapi_http._forms import parse_form as _parse_form

from .concurrency import run_in_threadpool
from .datastructures import FormData, Headers, UploadFile


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
    items = await _parse_form(
        content_type,
        stream,
        _make_upload,
        max_files=max_files,
        max_fields=max_fields,
        max_part_size=max_part_size,
    )
    return FormData(items)


def _make_upload(file: IO[bytes], filename: str, headers: list[tuple[bytes, bytes]]) -> UploadFile:
    return UploadFile(cast(Any, file), size=0, filename=filename, headers=_PartHeaders(headers))


class _PartHeaders(Headers):
    """Headers of a part: values are UTF-8, as every browser writes them."""

    def __init__(self, raw: list[tuple[bytes, bytes]]) -> None:
        super().__init__(raw=raw)
        self._decoded = [(name, _utf8(value)) for name, value in raw]

    def __getitem__(self, key: str) -> str:
        wanted = key.lower().encode("latin-1")
        for name, value in self._decoded:
            if name == wanted:
                return value
        raise KeyError(key)


def _utf8(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


async def read_in_thread(file: UploadFile) -> bytes:
    """Return the content of ``file`` without moving its position."""
    position = await run_in_threadpool(file.file.tell)
    try:
        return await file.read()
    finally:
        await file.seek(position)


__all__ = ["FormError", "parse_form"]
