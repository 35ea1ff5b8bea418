"""requestState of input_required results: signed, bound to the call, short-lived."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
from typing import Any

from ._errors import InvalidParams

LIFETIME_S = 600.0


class StateSeal:
    """Seals what a call wants back with the client's answers.

    The client holds the state in between and may send anything in its place, so it is authenticated
    (HMAC-SHA-256), expires after ten minutes, and holds only for the same method, name and arguments.
    Servers behind one address must share ``key``.
    """

    def __init__(self, key: bytes | None = None) -> None:
        if key is not None and len(key) < 16:
            raise ValueError("request_state_key must have at least 16 bytes")
        self._key = key or os.urandom(32)

    @staticmethod
    def digest(method: str, params: dict[str, Any]) -> str:
        """What the state is bound to."""
        name = params.get("name", params.get("uri"))
        subject = json.dumps([method, name, params.get("arguments") or {}], sort_keys=True)
        return hashlib.sha256(subject.encode()).hexdigest()[:32]

    def seal(self, digest: str, user_state: str | None, answers: dict[str, Any]) -> str:
        """The text that goes to the client."""
        payload = json.dumps(
            {
                "s": user_state,
                "a": answers,
                "d": digest,
                "e": time.time() + LIFETIME_S,
                "n": os.urandom(8).hex(),
            },
            separators=(",", ":"),
        ).encode()
        return f"{_encode(payload)}.{_encode(self._sign(payload))}"

    def open(self, digest: str, sealed: Any) -> tuple[str | None, dict[str, Any]]:
        """What was sealed. Raises `InvalidParams` when it is not ours, too old, or of another call."""
        try:
            head, _, tail = sealed.partition(".")
            payload = _decode(head)
            good = hmac.compare_digest(_decode(tail), self._sign(payload))
        except (AttributeError, ValueError):
            good = False
        if not good:
            raise InvalidParams("requestState is not valid")
        state = json.loads(payload)
        if state["d"] != digest:
            raise InvalidParams("requestState belongs to another call")
        if state["e"] < time.time():
            raise InvalidParams("requestState has expired")
        return state["s"], state["a"]

    def _sign(self, payload: bytes) -> bytes:
        return hmac.digest(self._key, payload, "sha256")


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")


def _decode(text: str) -> bytes:
    data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    if _encode(data) != text:
        raise ValueError("not canonical")
    return data
