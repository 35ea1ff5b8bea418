"""Small value types that the native side hands to Python."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple
from urllib.parse import SplitResult, parse_qsl, urlencode, urlsplit


class Address(NamedTuple):
    """Peer of a connection."""

    host: str
    port: int


class URL(str):
    """A URL: a ``str`` whose parts are attributes, parsed on first use."""

    @cached_property
    def _parts(self) -> SplitResult:
        return urlsplit(self)

    @property
    def components(self) -> SplitResult:
        return self._parts

    @property
    def scheme(self) -> str:
        return self._parts.scheme

    @property
    def netloc(self) -> str:
        return self._parts.netloc

    @property
    def path(self) -> str:
        return self._parts.path

    @property
    def query(self) -> str:
        return self._parts.query

    @property
    def fragment(self) -> str:
        return self._parts.fragment

    @property
    def username(self) -> str | None:
        return self._parts.username

    @property
    def password(self) -> str | None:
        return self._parts.password

    @property
    def hostname(self) -> str | None:
        return self._parts.hostname

    @property
    def port(self) -> int | None:
        return self._parts.port

    @property
    def is_secure(self) -> bool:
        return self._parts.scheme in ("https", "wss")

    def replace(self, *args: Any, **parts: Any) -> URL:
        """A URL with parts replaced by keyword (scheme, netloc, path, query, fragment, hostname, port)."""
        if args:
            return URL(str.replace(self, *args))
        if "hostname" in parts or "port" in parts or "username" in parts or "password" in parts:
            hostname = parts.pop("hostname", None) or self.hostname or ""
            port = parts.pop("port", self.port)
            user = parts.pop("username", self.username)
            password = parts.pop("password", self.password)
            netloc = f"[{hostname}]" if ":" in hostname else hostname
            if port is not None:
                netloc += f":{port}"
            if user is not None:
                netloc = user + (f":{password}" if password is not None else "") + "@" + netloc
            parts["netloc"] = netloc
        return URL(self._parts._replace(**parts).geturl())

    def include_query_params(self, **params: Any) -> URL:
        """A URL with query parameters set."""
        query = dict(parse_qsl(self.query, keep_blank_values=True))
        query.update({name: str(value) for name, value in params.items()})
        return self.replace(query=urlencode(query))

    def remove_query_params(self, keys: str | list[str]) -> URL:
        """A URL without these query parameters."""
        gone = {keys} if isinstance(keys, str) else set(keys)
        kept = [pair for pair in parse_qsl(self.query, keep_blank_values=True) if pair[0] not in gone]
        return self.replace(query=urlencode(kept))


class State:
    """Free attributes; reading one that was never set raises AttributeError."""

    def __init__(self, state: dict[str, Any] | None = None) -> None:
        object.__setattr__(self, "_state", {} if state is None else state)

    def __getattr__(self, name: str) -> Any:
        try:
            return object.__getattribute__(self, "_state")[name]
        except KeyError:
            raise AttributeError(f"state has no attribute {name!r}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self._state[name] = value

    def __delattr__(self, name: str) -> None:
        try:
            del self._state[name]
        except KeyError:
            raise AttributeError(f"state has no attribute {name!r}") from None

    def __getitem__(self, name: str) -> Any:
        return self._state[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._state[name] = value

    def __contains__(self, name: object) -> bool:
        return name in self._state

    def __repr__(self) -> str:
        return f"State({self._state!r})"
