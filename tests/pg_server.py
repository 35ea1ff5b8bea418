"""pytest plugin: one PostgreSQL per run, found or started; without one the tests fail, they never skip silently.

Also a command: ``python tests/pg_server.py COMMAND ...`` runs it with the server in FASTERAPI_PG_DSN.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
from fasterapi.demo.postgres import Unavailable, postgres


@pytest.fixture(scope="session")
def pg_dsn() -> Iterator[str]:
    """DSN of a server where the tests may create what they like."""
    try:
        with postgres() as server:
            yield server.dsn
    except Unavailable as error:
        pytest.fail(str(error), pytrace=False)


if __name__ == "__main__":
    with postgres() as found:
        sys.exit(subprocess.run(sys.argv[1:], env={**os.environ, "FASTERAPI_PG_DSN": found.dsn}).returncode)
