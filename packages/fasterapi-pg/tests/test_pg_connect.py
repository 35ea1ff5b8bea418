"""Connecting: authentication methods, TLS modes, several hosts, and every way it can fail clearly."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import fasterapi_core
import fasterapi_pg
import pytest
from fasterapi_pg import exceptions

if TYPE_CHECKING:
    from pg_servers import MatrixServer, Server


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The tester's own settings and certificates stay out."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (
        "PGHOST",
        "PGPORT",
        "PGUSER",
        "PGPASSWORD",
        "PGDATABASE",
        "PGSSLMODE",
        "PGSERVICE",
        "PGPASSFILE",
    ):
        monkeypatch.delenv(name, raising=False)


async def who(**options: Any) -> tuple[str, bool]:
    """Connect; return the user and whether TLS is in use."""
    con = await fasterapi_pg.connect(database="postgres", timeout=10, **options)
    try:
        row = await con.fetchrow(
            "select current_user, coalesce((select ssl from pg_stat_ssl where pid = pg_backend_pid()), false)"
        )
        assert row is not None
        return row[0], row[1]
    finally:
        await con.close()


METHODS = [
    ("trustuser", None),
    ("md5user", "md5 secret"),
    ("scramuser", "scram secret"),
    ("prepuser", "\u2168"),  # SASLprep makes it IX
]


@pytest.mark.parametrize(("user", "password"), METHODS)
@pytest.mark.parametrize("ssl", ["disable", "require"])
async def test_methods(matrix: MatrixServer, user: str, password: str | None, ssl: str) -> None:
    got = await who(host="127.0.0.1", port=matrix.port, user=user, password=password, ssl=ssl)
    assert got == (user, ssl == "require")


@pytest.mark.parametrize("user", ["md5user", "scramuser", "clearuser"])
async def test_wrong_password(matrix: MatrixServer, user: str) -> None:
    with pytest.raises(exceptions.InvalidPasswordError) as caught:
        await who(host="127.0.0.1", port=matrix.port, user=user, password="wrong", ssl="require")
    assert caught.value.sqlstate == "28P01"
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("user", ["md5user", "scramuser"])
async def test_missing_password(matrix: MatrixServer, user: str) -> None:
    with pytest.raises((exceptions.InterfaceError, exceptions.InvalidPasswordError), match="password"):
        await who(host="127.0.0.1", port=matrix.port, user=user)


async def test_password_from_a_function(matrix: MatrixServer) -> None:
    async def later() -> str:
        return "scram secret"

    options = {"host": "127.0.0.1", "port": matrix.port, "user": "scramuser"}
    assert (await who(password=lambda: "scram secret", **options))[0] == "scramuser"
    assert (await who(password=later, **options))[0] == "scramuser"


async def test_password_from_the_password_file(matrix: MatrixServer, tmp_path: Path) -> None:
    path = tmp_path / "pass"
    path.write_text(f"127.0.0.1:{matrix.port}:*:scramuser:scram secret\n")
    path.chmod(0o600)
    assert (await who(host="127.0.0.1", port=matrix.port, user="scramuser", passfile=str(path)))[
        0
    ] == "scramuser"


async def test_password_in_the_clear_only_over_tls(matrix: MatrixServer) -> None:
    options = {"host": "127.0.0.1", "port": matrix.port, "user": "clearuser", "password": "clear secret"}
    assert await who(ssl="require", **options) == ("clearuser", True)
    with pytest.raises(exceptions.AuthenticationError):
        await who(ssl="disable", **options)
    assert await who(ssl="disable", allow_cleartext=True, **options) == ("clearuser", False)


async def test_refused_by_the_server(matrix: MatrixServer) -> None:
    with pytest.raises(exceptions.InvalidAuthorizationSpecificationError):
        await who(host="127.0.0.1", port=matrix.port, user="rejected")
    with pytest.raises(exceptions.InvalidAuthorizationSpecificationError):
        await who(host="127.0.0.1", port=matrix.port, user="nosuchuser")
    with pytest.raises(exceptions.InvalidCatalogNameError):
        await fasterapi_pg.connect(host="127.0.0.1", port=matrix.port, user="trustuser", database="nosuchdb")


# ----------------------------------------------------------------------------------------------------- TLS
async def test_tls_modes(matrix: MatrixServer) -> None:
    options: dict[str, Any] = {"host": "127.0.0.1", "port": matrix.port, "user": "trustuser"}
    assert (await who(ssl="disable", **options))[1] is False
    assert (await who(ssl="allow", **options))[1] is False
    assert (await who(ssl="prefer", **options))[1] is True
    assert (await who(**options))[1] is True
    assert (await who(ssl="require", **options))[1] is True


async def test_modes_try_the_other_way(matrix: MatrixServer) -> None:
    base: dict[str, Any] = {"host": "127.0.0.1", "port": matrix.port}
    tls = {"user": "tlsuser", "password": "tls secret", **base}
    plain = {"user": "plainuser", "password": "plain secret", **base}
    assert (await who(ssl="allow", **tls))[1] is True
    assert (await who(ssl="prefer", **plain))[1] is False
    with pytest.raises(exceptions.InvalidAuthorizationSpecificationError):
        await who(ssl="disable", **tls)
    with pytest.raises(exceptions.InvalidAuthorizationSpecificationError):
        await who(ssl="require", **plain)


async def test_verification_of_the_servers_certificate(matrix: MatrixServer) -> None:
    good, other = matrix.certificates.ca, matrix.certificates.other_ca

    def dsn(mode: str, root: Path, host: str = "localhost") -> str:
        return f"host={host} hostaddr=127.0.0.1 port={matrix.port} user=trustuser sslmode={mode} sslrootcert={root}"

    assert (await who(dsn=dsn("verify-full", good)))[1] is True
    assert (await who(dsn=dsn("verify-ca", good, "elsewhere")))[1] is True
    for bad in (dsn("verify-full", good, "elsewhere"), dsn("verify-ca", other), dsn("verify-full", other)):
        with pytest.raises(OSError, match="(?i)certificate|verif|tls|ssl") as caught:
            await who(dsn=bad)
        assert isinstance(caught.value, exceptions.CannotConnectError)


async def test_ssl_context(matrix: MatrixServer) -> None:
    import ssl

    options: dict[str, Any] = {"dsn": f"host=localhost hostaddr=127.0.0.1 port={matrix.port} user=trustuser"}
    assert (await who(ssl=ssl.create_default_context(cafile=str(matrix.certificates.ca)), **options))[
        1
    ] is True
    with pytest.raises(OSError):
        await who(ssl=ssl.create_default_context(cafile=str(matrix.certificates.other_ca)), **options)
    with pytest.raises(OSError):
        await who(ssl=True, **options)


async def test_client_certificate(matrix: MatrixServer) -> None:
    folder = matrix.certificates.folder
    base = f"host=localhost hostaddr=127.0.0.1 port={matrix.port} user=certuser sslmode=verify-full sslrootcert={folder}/ca.crt "
    assert (await who(dsn=f"{base} sslcert={folder}/client.crt sslkey={folder}/client.key"))[0] == "certuser"
    locked = f"{base} sslcert={folder}/client.crt sslkey={folder}/client-locked.key"
    assert (await who(dsn=f"{locked} sslpassword=secret"))[0] == "certuser"
    with pytest.raises((fasterapi_core.FasterAPIError, OSError)):
        await who(dsn=f"{locked} sslpassword=wrong")
    with pytest.raises(exceptions.InvalidAuthorizationSpecificationError):
        await who(dsn=base)


async def test_channel_binding(matrix: MatrixServer) -> None:
    base = f"host=127.0.0.1 port={matrix.port} user=scramuser password='scram secret' channel_binding=require"
    assert (await who(dsn=base + " sslmode=require"))[1] is True
    with pytest.raises(exceptions.AuthenticationError, match="channel"):
        await who(dsn=base + " sslmode=disable")
    md5 = f"host=127.0.0.1 port={matrix.port} user=md5user password='md5 secret' sslmode=require channel_binding=require"
    with pytest.raises(exceptions.AuthenticationError, match="channel"):
        await who(dsn=md5)


async def test_require_auth(matrix: MatrixServer) -> None:
    base = f"host=127.0.0.1 port={matrix.port} user=md5user password='md5 secret' sslmode=require "
    assert (await who(dsn=base + "require_auth=md5"))[0] == "md5user"
    with pytest.raises(exceptions.AuthenticationError, match="md5"):
        await who(dsn=base + "require_auth=scram-sha-256")
    trust = f"host=127.0.0.1 port={matrix.port} user=trustuser "
    with pytest.raises(exceptions.AuthenticationError):
        await who(dsn=trust + "require_auth=scram-sha-256")


# --------------------------------------------------------------------------------------------------- hosts
async def test_unix_socket(matrix: MatrixServer) -> None:
    con = await fasterapi_pg.connect(matrix.unix_dsn)
    assert await con.fetchval("select 1") == 1
    await con.close()


async def test_first_host_that_answers_is_taken(matrix: MatrixServer) -> None:
    con = await fasterapi_pg.connect(f"postgresql://postgres@127.0.0.1:1,127.0.0.1:{matrix.port}/postgres")
    assert await con.fetchval("select 1") == 1
    await con.close()


async def test_target_session_attributes(matrix: MatrixServer) -> None:
    for wanted in ("any", "read-write", "primary", "prefer-standby"):
        con = await fasterapi_pg.connect(matrix.dsn, target_session_attrs=wanted)
        await con.close()
    for wanted in ("read-only", "standby"):
        with pytest.raises(exceptions.TargetServerAttributeNotMatched):
            await fasterapi_pg.connect(matrix.dsn, target_session_attrs=wanted)


async def test_refused_port_is_an_os_error() -> None:
    with pytest.raises(ConnectionRefusedError) as caught:
        await fasterapi_pg.connect("postgresql://u@127.0.0.1:1/d", timeout=5)
    assert "127.0.0.1" in str(caught.value)
    assert isinstance(caught.value, exceptions.CannotConnectError)
    assert caught.value.safe_to_retry


async def test_missing_socket_and_unknown_host() -> None:
    with pytest.raises(OSError, match="nonexistent"):
        await fasterapi_pg.connect("postgresql://u@/d?host=/nonexistent", timeout=5)
    with pytest.raises(OSError, match="no-such-host"):
        await fasterapi_pg.connect("postgresql://u@no-such-host.invalid/d", timeout=5)


async def test_wrong_dsn() -> None:
    for bad in ("nonsense", "mysql://x", "postgresql://u@h:port/d", "host=h sslmod=x"):
        with pytest.raises(exceptions.ClientConfigurationError):
            await fasterapi_pg.connect(bad)


async def test_server_goes_away(own_server: Server) -> None:
    con = await fasterapi_pg.connect(own_server.dsn)
    await asyncio.to_thread(own_server.stop)
    await asyncio.sleep(0.05)
    with pytest.raises((exceptions.InterfaceError, exceptions.PostgresError)):
        await con.fetchval("select 1")
    with pytest.raises(ConnectionRefusedError):
        await fasterapi_pg.connect(own_server.dsn, timeout=5)


# ------------------------------------------------------------------------------------------- false servers
@contextlib.asynccontextmanager
async def false_server(
    answer: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
) -> AsyncIterator[str]:
    """A server that answers as it likes; yields its DSN (without TLS)."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield f"postgresql://u:p@127.0.0.1:{port}/d?sslmode=disable"
    finally:
        server.close()


async def startup(reader: asyncio.StreamReader) -> None:
    (size,) = struct.unpack("!i", await reader.readexactly(4))
    await reader.readexactly(size - 4)


def message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


READY = message(b"R", struct.pack("!i", 0)) + message(b"K", struct.pack("!ii", 1, 2)) + message(b"Z", b"I")
NONSENSE = {
    "http": b"HTTP/1.1 400 Bad Request\r\n\r\n",
    "zeros": b"\0" * 64,
    "negative length": b"R\xff\xff\xff\xff",
    "huge length": b"R\x7f\xff\xff\xff",
    "length too small": b"R\x00\x00\x00\x03",
    "cut authentication": message(b"R", b"\0\0"),
    "unknown authentication": message(b"R", struct.pack("!i", 99)),
    "sasl without mechanisms": message(b"R", struct.pack("!i", 10) + b"\0"),
    "sasl unknown mechanism": message(b"R", struct.pack("!i", 10) + b"NOPE\0\0"),
    "sasl continue first": message(b"R", struct.pack("!i", 11) + b"r=x,s=y,i=1"),
    "sasl final first": message(b"R", struct.pack("!i", 12) + b"v=x"),
    "ready without authentication": message(b"Z", b"I"),
    "cut parameter status": message(b"R", struct.pack("!i", 0)) + message(b"S", b"a"),
    "copy data": message(b"d", b""),
    "empty error": message(b"E", b"\0"),
    "error without end": message(b"E", b"Mhello"),
    "gss": message(b"R", struct.pack("!i", 7)),
    "closes at once": b"",
}


@pytest.mark.parametrize("data", list(NONSENSE.values()), ids=list(NONSENSE))
async def test_nonsense_at_login_is_an_error(data: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(data)
        await writer.drain()
        if data:
            await reader.read(1)

    async with false_server(answer) as dsn:
        with pytest.raises((fasterapi_core.FasterAPIError, OSError, TimeoutError)):
            await fasterapi_pg.connect(dsn, timeout=2)


async def test_server_that_says_nothing_is_a_timeout() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1 << 16)
        await reader.read(1)

    async with false_server(answer) as dsn:
        with pytest.raises(TimeoutError):
            await fasterapi_pg.connect(dsn, timeout=0.3)


@contextlib.contextmanager
def black_hole() -> Iterator[int]:
    """A port where connections are dropped: a listening socket whose backlog is full."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket())
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def test_host_that_does_not_answer_is_a_timeout_that_names_it() -> None:
    with black_hole() as port, pytest.raises(TimeoutError) as caught:
        await fasterapi_pg.connect(f"postgresql://u@127.0.0.1:{port}/d?connect_timeout=2")
    assert f"no connection to 127.0.0.1:{port} within 2000 ms (connect_timeout)" in str(caught.value)


async def test_host_that_does_not_answer_is_passed_over(matrix: MatrixServer) -> None:
    with black_hole() as port:
        con = await fasterapi_pg.connect(
            f"postgresql://trustuser@127.0.0.1:{port},127.0.0.1:{matrix.port}/postgres?connect_timeout=2"
        )
        assert await con.fetchval("select current_user") == "trustuser"
        await con.close()


async def test_cancelled_connect_leaves_nothing_open() -> None:
    ended = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal ended
        while await reader.read(1 << 16):
            pass
        ended += 1

    async with false_server(answer) as dsn:
        for _ in range(5):
            task = asyncio.create_task(fasterapi_pg.connect(dsn))
            await asyncio.sleep(0.02)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        async with asyncio.timeout(5):
            while ended < 5:
                await asyncio.sleep(0.01)


async def test_authentication_ok_without_the_servers_proof_is_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(message(b"R", struct.pack("!i", 10) + b"SCRAM-SHA-256\0\0"))
        head = await reader.readexactly(5)
        await reader.readexactly(struct.unpack("!i", head[1:])[0] - 4)
        writer.write(READY)
        await reader.read(1)

    async with false_server(answer) as dsn:
        with pytest.raises((exceptions.AuthenticationError, exceptions.ProtocolError)):
            await fasterapi_pg.connect(dsn, timeout=2)


async def test_bytes_after_the_tls_answer_are_refused() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(8)
        writer.write(b"S" + READY)
        await writer.drain()
        await reader.read(1 << 16)

    async with false_server(answer) as dsn:
        with pytest.raises((fasterapi_core.FasterAPIError, OSError)):
            await fasterapi_pg.connect(dsn.replace("disable", "require"), timeout=2)


async def test_nonsense_after_login_ends_the_connection() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await startup(reader)
        writer.write(READY)
        await reader.read(1 << 16)
        writer.write(message(b"D", struct.pack("!h", -5)) + message(b"T", b"\x7f\xff") + b"\xff" * 64)
        await writer.drain()
        await reader.read(1)

    async with false_server(answer) as dsn:
        con = await fasterapi_pg.connect(dsn, timeout=2)
        with pytest.raises((fasterapi_core.FasterAPIError, TimeoutError)):
            await con.fetch("select 1", timeout=2)
        with pytest.raises((fasterapi_core.FasterAPIError, TimeoutError)):
            await con.fetch("select 1", timeout=2)
        con.terminate()


async def test_closed_port_in_a_pool_and_process_lives() -> None:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    pool = fasterapi_pg.create_pool(f"postgresql://u@127.0.0.1:{port}/d", min_size=0, max_size=2, timeout=2)
    for _ in range(3):
        with pytest.raises(OSError):
            await pool.fetchval("select 1")
    await pool.close()
