"""Fixtures of the tests that span packages."""

from __future__ import annotations

from pg_server import pg_dsn

__all__ = ["pg_dsn"]
