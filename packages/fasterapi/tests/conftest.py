"""Makes the helpers beside the tests importable, whatever pytest's import mode, and offers a PostgreSQL."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2] / "tests")]

from pg_server import pg_dsn  # noqa: E402

__all__ = ["pg_dsn"]
