"""Payloads that every server of the comparison gives."""

from __future__ import annotations

from typing import Any

HELLO = {"message": "Hello, World!"}
TEXT_1K = "x" * 1024
ROWS: list[dict[str, Any]] = [
    {
        "id": i,
        "name": f"user-{i}",
        "email": f"user{i}@example.com",
        "active": i % 2 == 0,
        "score": i * 1.5,
        "tags": ["a", "b"],
    }
    for i in range(100)
]
