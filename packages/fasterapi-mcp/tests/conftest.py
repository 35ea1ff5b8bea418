"""Fixtures of the MCP tests; what they are made of is in mcp_wire.py."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from mcp_wire import Child  # noqa: E402


@pytest.fixture
def child() -> Iterator[Any]:
    made: list[Child] = []

    def make(script: str, **env: str) -> Child:
        made.append(Child(script, **env))
        return made[-1]

    yield make
    for item in made:
        item.close()
