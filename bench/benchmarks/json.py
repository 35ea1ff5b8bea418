"""How long does core's JSON take beside orjson, msgspec and the standard library, on the same objects?"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from typing import Any

import fasterapi_core


def user(i: int) -> dict[str, Any]:
    return {
        "id": i,
        "name": f"user-{i}",
        "email": f"user{i}@example.com",
        "active": i % 2 == 0,
        "score": i * 1.5 + 0.25,
        "tags": ["alpha", "beta"],
        "created": "2026-01-02T03:04:05Z",
        "bio": "lorem ipsum dolor sit amet",
    }


OBJECTS: dict[str, Any] = {
    "hello": {"message": "Hello, World!"},
    "914 B": {"users": [user(i) for i in range(5)], "page": 1, "total": 5, "next": None, "ok": True},
    "11 KB": [user(i) for i in range(64)],
}
TEXTS = {name: fasterapi_core.json_dumps(value) for name, value in OBJECTS.items()}
LIBRARIES = ["fasterapi", "orjson", "msgspec", "json"]


def encoder(library: str) -> Callable[[Any], Any]:
    if library == "fasterapi":
        return fasterapi_core.json_dumps
    if library == "json":
        return lambda value: json.dumps(value, separators=(",", ":")).encode()
    peer = importlib.import_module("msgspec.json" if library == "msgspec" else library)
    return peer.Encoder().encode if library == "msgspec" else peer.dumps  # type: ignore[no-any-return]


def decoder(library: str) -> Callable[[bytes], Any]:
    if library == "fasterapi":
        return fasterapi_core.json_loads
    if library == "json":
        return json.loads
    peer = importlib.import_module("msgspec.json" if library == "msgspec" else library)
    return peer.Decoder().decode if library == "msgspec" else peer.loads  # type: ignore[no-any-return]


class Encode:
    params = (LIBRARIES, list(OBJECTS))
    param_names = ("library", "object")

    def setup(self, library: str, name: str) -> None:
        try:
            self.encode = encoder(library)
        except ImportError:
            raise NotImplementedError from None  # asv: not here
        self.value = OBJECTS[name]

    def time_encode(self, library: str, name: str) -> None:
        self.encode(self.value)


class Decode:
    params = (LIBRARIES, list(TEXTS))
    param_names = ("library", "text")

    def setup(self, library: str, name: str) -> None:
        try:
            self.decode = decoder(library)
        except ImportError:
            raise NotImplementedError from None
        self.text = TEXTS[name]

    def time_decode(self, library: str, name: str) -> None:
        self.decode(self.text)
