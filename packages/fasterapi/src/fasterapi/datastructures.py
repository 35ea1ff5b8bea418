"""URL, headers, query parameters, form data, uploaded files and application state."""

from __future__ import annotations

import tempfile
from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    MutableMapping,
    Sequence,
    ValuesView,
)
from typing import Any, BinaryIO, Generic, NamedTuple, TypeVar, cast
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import core_schema

from .concurrency import run_in_threadpool
from .types import Scope

T = TypeVar("T")


class Address(NamedTuple):
    """Host and port of a peer."""

    host: str
    port: int


class URL:
    """A URL, from text, from an ASGI scope or from its parts; immutable."""

    def __init__(self, url: str = "", scope: Scope | None = None, **parts: Any) -> None:
        if scope is not None:
            url = _url_of_scope(scope)
        self._url = url
        if parts:
            self._url = str(self.replace(**parts))

    @property
    def components(self) -> SplitResult:
        """The split URL."""
        return urlsplit(self._url)

    @property
    def scheme(self) -> str:
        return self.components.scheme

    @property
    def netloc(self) -> str:
        return self.components.netloc

    @property
    def path(self) -> str:
        return self.components.path

    @property
    def query(self) -> str:
        return self.components.query

    @property
    def fragment(self) -> str:
        return self.components.fragment

    @property
    def username(self) -> str | None:
        return self.components.username

    @property
    def password(self) -> str | None:
        return self.components.password

    @property
    def hostname(self) -> str | None:
        return self.components.hostname

    @property
    def port(self) -> int | None:
        return self.components.port

    @property
    def is_secure(self) -> bool:
        return self.scheme in ("https", "wss")

    def replace(self, **parts: Any) -> URL:
        """Return a copy with some parts replaced: any of urlsplit's fields, or hostname, port, username,
        password.
        """
        split = self.components
        authority = {"username", "password", "hostname", "port"}
        if authority & parts.keys():
            host = parts.pop("hostname", None) or split.hostname or ""
            if ":" in host and not host.startswith("["):
                host = f"[{host}]"
            port = parts.pop("port", split.port)
            user = parts.pop("username", split.username)
            password = parts.pop("password", split.password)
            netloc = host if port is None else f"{host}:{port}"
            if user is not None:
                netloc = f"{user}:{password}@{netloc}" if password is not None else f"{user}@{netloc}"
            parts["netloc"] = netloc
        return URL(split._replace(**parts).geturl())

    def include_query_params(self, **params: Any) -> URL:
        """Return a copy with ``params`` added, replacing those of the same name."""
        query = dict(parse_qsl(self.query, keep_blank_values=True))
        query.update({key: str(value) for key, value in params.items()})
        return self.replace(query=urlencode(query))

    def replace_query_params(self, **params: Any) -> URL:
        """Return a copy whose query consists of ``params``."""
        return self.replace(query=urlencode([(key, str(value)) for key, value in params.items()]))

    def remove_query_params(self, keys: str | Sequence[str]) -> URL:
        """Return a copy without the named query parameters."""
        drop = {keys} if isinstance(keys, str) else set(keys)
        pairs = parse_qsl(self.query, keep_blank_values=True)
        return self.replace(query=urlencode([pair for pair in pairs if pair[0] not in drop]))

    def __eq__(self, other: object) -> bool:
        return str(self) == str(other)

    def __hash__(self) -> int:
        return hash(self._url)

    def __str__(self) -> str:
        return self._url

    def __repr__(self) -> str:
        url = str(self.replace(password="********")) if self.password else self._url
        return f"URL({url!r})"


def _url_of_scope(scope: Scope) -> str:
    scheme = scope.get("scheme", "http")
    path = scope["path"]
    query = scope.get("query_string", b"").decode("latin-1")
    host = None
    for key, value in scope.get("headers", ()):
        if key == b"host":
            host = value.decode("latin-1")
            break
    if host is None and scope.get("server"):
        name, port = scope["server"]
        default = {"http": 80, "https": 443, "ws": 80, "wss": 443}.get(scheme)
        host = name if port in (None, default) else f"{name}:{port}"
    url = f"{scheme}://{host}{path}" if host else path
    return f"{url}?{query}" if query else cast(str, url)


class URLPath(str):
    """A path made by ``url_path_for``; ``make_absolute_url`` joins it to a base URL."""

    protocol: str
    host: str

    def __new__(cls, path: str, protocol: str = "", host: str = "") -> URLPath:
        self = super().__new__(cls, path)
        self.protocol = protocol
        self.host = host
        return self

    def make_absolute_url(self, base_url: str | URL) -> URL:
        """Return the full URL under ``base_url``."""
        base = URL(str(base_url))
        scheme = base.scheme
        if self.protocol:
            secure = {"http": ("http", "https"), "websocket": ("ws", "wss")}[self.protocol]
            scheme = secure[base.is_secure]
        return URL(f"{scheme}://{self.host or base.netloc}{base.path.rstrip('/')}{self}")


class ImmutableMultiDict(Mapping[str, T]):
    """A mapping that may hold several values per key; the last one is what ``[]`` and ``get`` return."""

    def __init__(
        self,
        items: Mapping[str, T] | Iterable[tuple[str, T]] | ImmutableMultiDict[T] | None = None,
        **kwargs: T,
    ) -> None:
        if isinstance(items, ImmutableMultiDict):
            pairs = list(items.multi_items())
        elif isinstance(items, Mapping):
            pairs = list(items.items())
        else:
            pairs = list(items or ())
        pairs.extend(kwargs.items())
        self._list: list[tuple[str, T]] = pairs
        self._dict: dict[str, T] = dict(pairs)

    def getlist(self, key: str) -> list[T]:
        """Return every value of ``key``."""
        return [value for name, value in self._list if name == key]

    def multi_items(self) -> list[tuple[str, T]]:
        """Return every pair in order, repeated keys included."""
        return list(self._list)

    def keys(self) -> KeysView[str]:
        return self._dict.keys()

    def values(self) -> ValuesView[T]:
        return self._dict.values()

    def items(self) -> ItemsView[str, T]:
        return self._dict.items()

    def __getitem__(self, key: str) -> T:
        return self._dict[key]

    def __contains__(self, key: object) -> bool:
        return key in self._dict

    def __iter__(self) -> Iterator[str]:
        return iter(self._dict)

    def __len__(self) -> int:
        return len(self._dict)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ImmutableMultiDict) and sorted(self._list, key=repr) == sorted(
            other._list, key=repr
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._list!r})"


class QueryParams(ImmutableMultiDict[str]):
    """The decoded query string."""

    def __init__(self, value: Any = None, **kwargs: Any) -> None:
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            value = parse_qsl(value, keep_blank_values=True)
        super().__init__(value, **kwargs)
        self._list = [(str(key), str(item)) for key, item in self._list]
        self._dict = dict(self._list)

    def __str__(self) -> str:
        return urlencode(self._list)

    def __repr__(self) -> str:
        return f"QueryParams({str(self)!r})"


class UploadFile:
    """An uploaded file, spooled to disk above a size limit."""

    def __init__(
        self,
        file: BinaryIO,
        *,
        size: int | None = None,
        filename: str | None = None,
        headers: Headers | None = None,
    ) -> None:
        self.file = file
        self.size = size
        self.filename = filename
        self.headers = headers if headers is not None else Headers()

    @property
    def content_type(self) -> str | None:
        """The part's Content-Type, if the client sent one."""
        return self.headers.get("content-type")

    @property
    def _in_memory(self) -> bool:
        return not getattr(self.file, "_rolled", True)

    async def write(self, data: bytes) -> None:
        """Write ``data`` at the current position."""
        if self.size is not None:
            self.size += len(data)
        spool = isinstance(self.file, tempfile.SpooledTemporaryFile)
        if self._in_memory and (
            not spool or self.file.tell() + len(data) <= (getattr(self.file, "_max_size", 0) or 1 << 62)
        ):
            self.file.write(data)
        else:
            await run_in_threadpool(self.file.write, data)

    async def read(self, size: int = -1) -> bytes:
        """Read up to ``size`` bytes (all by default)."""
        if self._in_memory:
            return self.file.read(size)
        return await run_in_threadpool(self.file.read, size)

    async def seek(self, offset: int) -> None:
        """Move to byte ``offset``."""
        if self._in_memory:
            self.file.seek(offset)
        else:
            await run_in_threadpool(self.file.seek, offset)

    async def close(self) -> None:
        """Close the file; a spooled file is deleted."""
        if self._in_memory:
            self.file.close()
        else:
            await run_in_threadpool(self.file.close)

    def __repr__(self) -> str:
        return f"UploadFile(filename={self.filename!r}, size={self.size!r}, headers={self.headers!r})"

    @classmethod
    def _validate(cls, value: Any, _info: Any = None) -> UploadFile:
        if not isinstance(value, UploadFile):
            raise ValueError(f"Expected UploadFile, received: {type(value)}")
        return value

    @classmethod
    def __get_pydantic_core_schema__(
        cls, source: type[Any], handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(cls._validate)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {"type": "string", "contentMediaType": "application/octet-stream"}


class FormData(ImmutableMultiDict["UploadFile | str"]):
    """The fields of a form, files included."""

    async def close(self) -> None:
        """Close every uploaded file."""
        for _, value in self._list:
            if isinstance(value, UploadFile):
                await value.close()


class Headers(Mapping[str, str]):
    """Request headers: case-insensitive, in order, repeated names kept."""

    def __init__(
        self,
        headers: Mapping[str, str] | None = None,
        raw: list[tuple[bytes, bytes]] | None = None,
        scope: Scope | None = None,
    ) -> None:
        if headers is not None:
            self._list = [
                (key.lower().encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()
            ]
        elif raw is not None:
            self._list = raw
        elif scope is not None:
            self._list = scope["headers"] = list(scope["headers"])
        else:
            self._list = []

    @property
    def raw(self) -> list[tuple[bytes, bytes]]:
        """The pairs as bytes, names in lower case."""
        return self._list

    def keys(self) -> list[str]:  # type: ignore[override]
        return [key.decode("latin-1") for key, _ in self._list]

    def values(self) -> list[str]:  # type: ignore[override]
        return [value.decode("latin-1") for _, value in self._list]

    def items(self) -> list[tuple[str, str]]:  # type: ignore[override]
        return [(key.decode("latin-1"), value.decode("latin-1")) for key, value in self._list]

    def getlist(self, key: str) -> list[str]:
        """Return every value of the header ``key``."""
        wanted = key.lower().encode("latin-1")
        return [value.decode("latin-1") for name, value in self._list if name == wanted]

    def mutablecopy(self) -> MutableHeaders:
        """Return an independent copy that can be changed."""
        return MutableHeaders(raw=list(self._list))

    def __getitem__(self, key: str) -> str:
        wanted = key.lower().encode("latin-1")
        for name, value in self._list:
            if name == wanted:
                return value.decode("latin-1")
        raise KeyError(key)

    def __contains__(self, key: object) -> bool:
        wanted = str(key).lower().encode("latin-1")
        return any(name == wanted for name, _ in self._list)

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._list)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Headers) and sorted(self._list) == sorted(other._list)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        pairs = self.items()
        return (
            f"Headers({dict(pairs)!r})" if len(dict(pairs)) == len(pairs) else f"Headers(raw={self._list!r})"
        )


class MutableHeaders(Headers, MutableMapping[str, str]):
    """Headers that can be changed; used for responses."""

    def __setitem__(self, key: str, value: str) -> None:
        name, encoded = key.lower().encode("latin-1"), value.encode("latin-1")
        found = [index for index, pair in enumerate(self._list) if pair[0] == name]
        for index in reversed(found[1:]):
            del self._list[index]
        if found:
            self._list[found[0]] = (name, encoded)
        else:
            self._list.append((name, encoded))

    def __delitem__(self, key: str) -> None:
        name = key.lower().encode("latin-1")
        for index in reversed([index for index, pair in enumerate(self._list) if pair[0] == name]):
            del self._list[index]

    def append(self, key: str, value: str) -> None:
        """Add a header without replacing one of the same name."""
        self._list.append((key.lower().encode("latin-1"), value.encode("latin-1")))

    def add_vary_header(self, vary: str) -> None:
        """Add ``vary`` to the Vary header."""
        old = self.get("vary")
        self["vary"] = f"{old}, {vary}" if old else vary

    def setdefault(self, key: str, default: str = "") -> str:
        """Return the header, adding it with ``default`` when it is missing."""
        if key not in self:
            self[key] = default
        return self[key]


class State:
    """A bag of attributes; ``state.x`` and ``state["x"]`` are the same thing."""

    _state: dict[str, Any]

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        super().__setattr__("_state", {} if state is None else state)

    def __setattr__(self, key: str, value: Any) -> None:
        self._state[key] = value

    def __getattr__(self, key: str) -> Any:
        try:
            return self._state[key]
        except KeyError:
            raise AttributeError(f"'{type(self).__name__}' object has no attribute '{key}'") from None

    def __delattr__(self, key: str) -> None:
        del self._state[key]

    def __getitem__(self, key: str) -> Any:
        return self._state[key]

    def __setitem__(self, key: str, value: Any) -> None:
        self._state[key] = value

    def __delitem__(self, key: str) -> None:
        del self._state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._state)

    def __len__(self) -> int:
        return len(self._state)


class DefaultPlaceholder(Generic[T]):
    """Marks a value that was not given, so that an outer router or the app may still decide it."""

    def __init__(self, value: T) -> None:
        self.value = value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DefaultPlaceholder) and other.value == self.value

    __hash__ = None  # type: ignore[assignment]


def Default(value: T) -> T:  # noqa: N802
    """Return a placeholder that carries ``value`` but loses against any given value."""
    return cast(T, DefaultPlaceholder(value))


def chosen(value: T | DefaultPlaceholder[T]) -> T:
    """Return the value inside a placeholder, or the value itself."""
    return value.value if isinstance(value, DefaultPlaceholder) else value


def first_given(*candidates: Any) -> Any:
    """Return the first candidate that is not a placeholder, else the value of the first."""
    for item in candidates:
        if not isinstance(item, DefaultPlaceholder):
            return item
    return candidates[0]


__all__ = [
    "URL",
    "Address",
    "Default",
    "DefaultPlaceholder",
    "FormData",
    "Headers",
    "ImmutableMultiDict",
    "MutableHeaders",
    "QueryParams",
    "State",
    "URLPath",
    "UploadFile",
]
