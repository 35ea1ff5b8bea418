"""Fixtures of the tests that span packages."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from pg_server import pg_dsn

__all__ = ["pg_dsn"]
