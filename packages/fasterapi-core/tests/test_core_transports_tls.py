"""TLS over the native transport, its path for data native: records in any pieces, both directions, both ends."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
from collections.abc import Callable
from typing import Any

import fasterapi_core
import pytest
from fasterapi_core._tls_protocol import TlsProtocol


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    folder = tmp_path_factory.mktemp("tls")
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", str(key), "-out", str(certificate)],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    client = ssl.create_default_context(cafile=str(certificate))
    return server, client


def run(main: Callable[[], Any]) -> None:
    fasterapi_core.run(asyncio.wait_for(main(), 30))


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(100_000):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    writer.close()


def test_sizes_around_the_record_come_back(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts[0])
        reader, writer = await asyncio.open_connection(
            *server.sockets[0].getsockname(),
            ssl=contexts[1],
            ssl_handshake_timeout=10,
            ssl_shutdown_timeout=5,
        )
        assert isinstance(writer.transport._ssl_protocol, TlsProtocol)  # type: ignore[attr-defined]
        for size in (1, 100, 16383, 16384, 16385, 40_000, 262_144, 3_000_000):
            message = os.urandom(size)
            for kind in (bytes, bytearray, memoryview):
                writer.write(kind(message))
                assert await reader.readexactly(size) == message
        writer.writelines([b"a", b"b", b"c"])
        assert await reader.readexactly(3) == b"abc"
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.3"
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main)


def test_records_that_arrive_in_pieces(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    # A relay cuts the stream anywhere: OpenSSL keeps the beginning of a record, the rest comes alone.
    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts[0])
        backend = server.sockets[0].getsockname()

        async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, step: int) -> None:
            while data := await reader.read(step):
                writer.write(data)
                await asyncio.sleep(0)
            writer.close()

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            inward, outward = await asyncio.open_connection(*backend)
            await asyncio.gather(cut(reader, outward, 777), cut(inward, writer, 5003))

        front = await asyncio.start_server(relay, "127.0.0.1", 0)
        address = front.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address, ssl=contexts[1])
        for size in (1, 16384, 16400, 100_000):
            message = os.urandom(size)
            writer.write(message)
            assert await reader.readexactly(size) == message
        writer.close()
        await writer.wait_closed()
        for each in (front, server):
            each.close()

    run(main)


def test_a_protocol_with_buffers_need_not_derive_from_one(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    class Buffers(asyncio.BaseProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(4)
            self.got = asyncio.get_running_loop().create_future()

        def get_buffer(self, hint: int) -> bytearray:
            return self.buffer

        def buffer_updated(self, count: int) -> None:
            self.got.set_result(bytes(self.buffer[:count]))

        def eof_received(self) -> None:
            return None

    class Plain(asyncio.Protocol):
        def __init__(self) -> None:
            self.got = asyncio.get_running_loop().create_future()

        def data_received(self, data: bytes) -> None:
            self.got.set_result(data)

    async def main() -> None:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts[0])
        transport, protocol = await asyncio.get_running_loop().create_connection(
            Buffers, *server.sockets[0].getsockname(), ssl=contexts[1]
        )
        transport.write(b"ping")
        assert await protocol.got == b"ping"
        second = Plain()
        transport.set_protocol(second)
        transport.write(b"a longer one")
        assert await second.got == b"a longer one"
        transport.close()
        server.close()
        await server.wait_closed()

    run(main)


def test_a_slow_reader_pauses_the_writer(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def main() -> None:
        async def slow(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await asyncio.sleep(0.1)
            got = len(await reader.readexactly(8_000_000))
            writer.write(b"%d" % got)
            writer.close()

        server = await asyncio.start_server(slow, "127.0.0.1", 0, ssl=contexts[0])
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=contexts[1])
        writer.write(bytes(4_000_000))
        writer.write(bytes(4_000_000))
        await writer.drain()
        assert await reader.read() == b"8000000"
        writer.close()
        server.close()

    run(main)


def test_start_tls_and_a_certificate_that_is_not_trusted(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    async def main() -> None:
        async def upgrade(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            assert await reader.readexactly(8) == b"starttls"
            writer.write(b"go")
            await writer.start_tls(contexts[0])
            await echo(reader, writer)

        server = await asyncio.start_server(upgrade, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        reader, writer = await asyncio.open_connection(*address)
        writer.write(b"starttls")
        assert await reader.readexactly(2) == b"go"
        await writer.start_tls(contexts[1], server_hostname="localhost")
        writer.write(b"secret")
        assert await reader.readexactly(6) == b"secret"
        writer.close()
        server.close()

        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=contexts[0])
        with pytest.raises(ssl.SSLCertVerificationError):
            await asyncio.open_connection(*server.sockets[0].getsockname(), ssl=True)
        server.close()

    run(main)
