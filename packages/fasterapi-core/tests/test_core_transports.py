"""Stream transports and servers against real sockets: what asyncio promises, and what peers do wrong."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import socket
import struct
import tempfile
import tracemalloc
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import fasterapi_core
import pytest
from fasterapi_core import _core

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["plain", "debug"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda coroutine: fasterapi_core.run(
        asyncio.wait_for(coroutine, 30), debug=request.param == "debug"
    )


class Recorder(asyncio.Protocol):
    """Writes down what is called."""

    def __init__(self) -> None:
        self.calls: list[Any] = []
        self.data = b""
        self.lost: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.keep_open = False

    def connection_made(self, transport: Any) -> None:
        self.calls.append("made")
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.calls.append("eof")
        return self.keep_open

    def pause_writing(self) -> None:
        self.calls.append("pause")

    def resume_writing(self) -> None:
        self.calls.append("resume")

    def connection_lost(self, exc: BaseException | None) -> None:
        self.calls.append("lost")
        self.lost.set_result(exc)


async def pair(make: Callable[[], asyncio.BaseProtocol] = Recorder) -> tuple[Any, Any, socket.socket]:
    """A native transport, its protocol, and the blocking socket at the other end."""
    ours, theirs = socket.socketpair()
    theirs.settimeout(10)
    transport, protocol = await asyncio.get_running_loop().create_connection(make, sock=ours)
    assert type(transport) is _core.SocketTransport
    return transport, protocol, theirs


async def until(condition: Callable[[], bool]) -> None:
    for _ in range(2000):
        if condition():
            return
        await asyncio.sleep(0.002)
    raise AssertionError("it did not happen")


def test_life_in_asyncios_order(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        assert isinstance(transport, asyncio.Transport)
        assert transport.get_protocol() is protocol and not transport.is_closing() and transport.is_reading()
        peer.sendall(b"hello")
        await until(lambda: protocol.data == b"hello")
        transport.write(b"a")
        transport.writelines([b"b", bytearray(b"c"), memoryview(b"d")])
        assert peer.recv(10) == b"abcd"
        transport.close()
        assert transport.is_closing() and not transport.is_reading()
        assert protocol.calls == ["made"]  # connection_lost() comes by call_soon
        assert await protocol.lost is None
        transport.close()
        transport.abort()
        assert protocol.calls == ["made", "lost"] and peer.recv(1) == b""
        assert transport.get_protocol() is None and "closed" in repr(transport)
        peer.close()

    run(main())


def test_arguments_are_checked_as_asyncio_does(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        for wrong in ("text", 1, None, [b""]):
            with pytest.raises(TypeError, match="bytes-like object"):
                transport.write(wrong)
        with pytest.raises(TypeError):
            transport.writelines([b"x", "y"])
        with pytest.raises(ValueError, match="must be >= low"):
            transport.set_write_buffer_limits(high=1, low=2)
        transport.set_write_buffer_limits(low=10)
        assert transport.get_write_buffer_limits() == (10, 40)
        transport.set_write_buffer_limits()
        assert transport.get_write_buffer_limits() == (16384, 65536)
        transport.write(memoryview(b"abcdef")[::2])
        assert peer.recv(10) == b"ace"
        transport.write_eof()
        with pytest.raises(RuntimeError, match="after write_eof"):
            transport.write(b"x")
        transport.abort()
        await protocol.lost
        peer.close()

    run(main())


def test_flow_control_and_no_second_copy(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        big = os.urandom(8_000_000)
        tracing = tracemalloc.is_tracing()
        tracemalloc.start()
        before = tracemalloc.get_traced_memory()[0]
        transport.write(big)  # bytes: kept by reference
        view = memoryview(big)
        transport.write(view[:4_000_000])
        assert tracemalloc.get_traced_memory()[0] - before < 1_000_000
        array = bytearray(big[:1_000_000])
        transport.write(array)  # may change: one copy
        copied = tracemalloc.get_traced_memory()[0] - before - len(array)
        assert 900_000 < copied < 1_200_000
        if not tracing:
            tracemalloc.stop()
        array[:] = bytes(len(array))
        array.clear()  # nothing is exported
        assert protocol.calls == ["made", "pause"]
        assert transport.get_write_buffer_size() > 12_000_000
        expected = big + big[:4_000_000] + big[:1_000_000]
        got = bytearray()
        while len(got) < len(expected):
            got += await asyncio.to_thread(peer.recv, 1 << 20)
        assert got == expected
        await until(lambda: transport.get_write_buffer_size() == 0)
        assert protocol.calls == ["made", "pause", "resume"]
        transport.close()
        await protocol.lost
        peer.close()

    run(main())


def test_close_sends_what_was_written_and_abort_drops_it(run: Run) -> None:
    async def main(end: str) -> None:
        transport, protocol, peer = await pair()
        transport.write(bytes(3_000_000))
        getattr(transport, end)()
        transport.write(b"more" if end == "abort" else b"")
        got = 0
        while n := len(await asyncio.to_thread(peer.recv, 1 << 20)):
            got += n
        assert await protocol.lost is None
        assert got == 3_000_000 if end == "close" else got < 3_000_000
        peer.close()

    run(main("close"))
    run(main("abort"))


def test_half_close_both_ways(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        protocol.keep_open = True
        peer.sendall(b"question")
        peer.shutdown(socket.SHUT_WR)
        await until(lambda: "eof" in protocol.calls)
        assert not transport.is_closing()
        transport.write(b"answer")
        transport.write_eof()
        assert peer.recv(100) == b"answer" and peer.recv(1) == b""
        transport.close()
        assert await protocol.lost is None
        peer.close()

        transport, protocol, peer = await pair()
        transport.write(bytes(2_000_000))
        transport.write_eof()  # after the last byte
        got = 0
        while n := len(await asyncio.to_thread(peer.recv, 1 << 20)):
            got += n
        assert got == 2_000_000
        peer.sendall(b"still heard")
        await until(lambda: protocol.data == b"still heard")
        peer.close()
        assert await protocol.lost is None  # eof_received() said False

    run(main())


def test_reset_in_the_middle_of_a_write(run: Run) -> None:
    async def main() -> None:
        reports: list[Any] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: reports.append(context))
        listener = socket.create_server(("127.0.0.1", 0))
        transport, protocol = await loop.create_connection(Recorder, *listener.getsockname())
        peer, _ = listener.accept()
        transport.write(bytes(10_000_000))
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        assert isinstance(await protocol.lost, (ConnectionResetError, BrokenPipeError))
        assert protocol.calls.count("lost") == 1
        for _ in range(10):
            transport.write(b"into the void")  # logged after the fifth, never raised
        assert not reports and transport.get_write_buffer_size() == 0
        assert transport.get_extra_info("peername") == listener.getsockname()
        listener.close()

    run(main())


def test_exceptions_of_protocols(run: Run) -> None:
    class Failing(Recorder):
        def data_received(self, data: bytes) -> None:
            raise ZeroDivisionError("mine")

    async def main() -> None:
        reports: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: reports.append(context))
        transport, protocol, peer = await pair(Failing)
        peer.sendall(b"x")
        assert isinstance(await protocol.lost, ZeroDivisionError)
        assert reports[0]["message"] == "Fatal error: protocol.data_received() call failed."
        assert reports[0]["transport"] is transport and reports[0]["protocol"] is protocol
        peer.close()

    run(main())


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupts_in_protocols_end_the_loop(error: type[BaseException]) -> None:
    class Interrupted(Recorder):
        def data_received(self, data: bytes) -> None:
            raise error

    async def main() -> None:
        transport, _, peer = await pair(Interrupted)
        peer.sendall(b"x")
        try:
            await asyncio.sleep(10)
        finally:
            transport.abort()
            peer.close()

    with pytest.raises(error):
        fasterapi_core.run(main())


def test_buffered_protocol(run: Run) -> None:
    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(7)
            self.data = b""
            self.lost = asyncio.get_running_loop().create_future()

        def get_buffer(self, sizehint: int) -> bytearray:
            assert sizehint == -1
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            self.data += self.buffer[:nbytes]
            if self.data.endswith(b"."):
                self.buffer = bytearray()

        def connection_lost(self, exc: BaseException | None) -> None:
            self.lost.set_result(exc)

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        _, protocol, peer = await pair(Buffered)
        peer.sendall(b"0123456789 and more.")
        await until(lambda: protocol.data == b"0123456789 and more.")
        peer.sendall(b"x")
        assert "empty buffer" in str(await protocol.lost)
        peer.close()

    run(main())


def test_pausing_holds_data_back(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        transport.pause_reading()
        transport.pause_reading()
        peer.sendall(b"early")
        await asyncio.sleep(0.02)
        assert protocol.data == b"" and not transport.is_reading()
        transport.resume_reading()
        transport.resume_reading()
        await until(lambda: protocol.data == b"early")
        transport.close()
        await protocol.lost
        peer.close()

    run(main())


def test_contexts_follow_who_started_it(run: Run) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="none")

    class Noting(Recorder):
        def data_received(self, data: bytes) -> None:
            self.calls.append(variable.get())
            variable.set("changed in a callback")

    async def main() -> None:
        variable.set("creator")
        transport, protocol, peer = await pair(Noting)
        variable.set("later")
        peer.sendall(b"x")
        await until(lambda: len(protocol.calls) == 2)
        assert protocol.calls[1] == "creator" and variable.get() == "later"
        transport.pause_reading()
        transport.resume_reading()
        peer.sendall(b"x")
        await until(lambda: len(protocol.calls) == 3)
        assert protocol.calls[2] == "later"
        transport.close()
        await protocol.lost
        peer.close()

    run(main())


def test_an_unclosed_transport_warns_and_gives_its_socket_back(run: Run) -> None:
    async def main() -> None:
        transport, protocol, peer = await pair()
        transport.pause_reading()  # nobody but us holds it now
        protocol.transport = None
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            del transport
            gc.collect()
        assert any("unclosed transport <SocketTransport" in str(each.message) for each in caught)
        assert peer.recv(1) == b""
        peer.close()

    run(main())


def test_extra_info(run: Run) -> None:
    async def main() -> None:
        made: list[Any] = []

        def factory() -> Recorder:
            made.append(Recorder())
            return made[-1]

        loop = asyncio.get_running_loop()
        server = await loop.create_server(factory, "127.0.0.1", 0)
        address = server.sockets[0].getsockname()
        client, protocol = await loop.create_connection(Recorder, *address)
        await until(lambda: bool(made and made[0].calls))
        accepted = made[0].transport
        assert accepted.get_extra_info("peername") == client.get_extra_info("sockname")
        assert accepted.get_extra_info("sockname") == address == client.get_extra_info("peername")
        sock = accepted.get_extra_info("socket")
        assert sock is accepted.get_extra_info("socket") and sock.family == socket.AF_INET
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.get_extra_info("nothing", 7) == 7
        with pytest.raises(RuntimeError, match="is used by transport"):
            loop.add_reader(sock.fileno(), print)
        client.close()
        await made[0].lost
        assert accepted.get_extra_info("sockname") == address and sock.fileno() == -1
        server.close()
        await server.wait_closed()
        await protocol.lost

    run(main())


def test_server_over_a_unix_socket_and_out_of_descriptors(run: Run) -> None:
    import resource

    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "s"))
            server = await loop.create_unix_server(Recorder, path)
            client = socket.socket(socket.AF_UNIX)
            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            lowest = os.dup(0)
            os.close(lowest)
            resource.setrlimit(resource.RLIMIT_NOFILE, (lowest, hard))
            try:
                client.connect(path)
                await until(lambda: bool(reports))
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            assert reports[0]["message"] == "socket.accept() out of system resource" and len(reports) == 1
            client.sendall(b"x")
            client.settimeout(5)
            server.close()  # while it waits to try again: nothing may come back
            await asyncio.sleep(1.2)
            client.close()
            await server.wait_closed()
        assert len(reports) == 1

    run(main())


def test_a_failing_factory_is_reported_and_the_connection_closed(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        reports: list[Any] = []
        loop.set_exception_handler(lambda _, context: reports.append(context))
        server = await loop.create_server(lambda: 1 // 0, "127.0.0.1", 0)  # type: ignore[arg-type, return-value]
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
        assert await reader.read() == b""
        assert isinstance(reports[0]["exception"], ZeroDivisionError)
        writer.close()
        server.close()
        await server.wait_closed()

    run(main())


def test_stream_reader_limits_pause_the_transport(run: Run) -> None:
    async def main() -> None:
        async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(bytes(1_000_000))
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(client, "127.0.0.1", 0)
        reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname(), limit=1000)
        await until(lambda: not writer.transport.is_reading())  # type: ignore[attr-defined]
        assert len(reader._buffer) < 400_000  # type: ignore[attr-defined]
        assert await reader.readexactly(1_000_000) == bytes(1_000_000)
        assert await reader.read() == b""
        writer.close()
        await writer.wait_closed()
        server.close()
        await server.wait_closed()

    run(main())


def test_closing_the_loop_lets_transports_go() -> None:
    loop = fasterapi_core.new_event_loop()
    ours, theirs = socket.socketpair()
    transport, protocol = loop.run_until_complete(loop.create_connection(asyncio.Protocol, sock=ours))
    loop.close()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del transport, protocol
        gc.collect()
    assert any("unclosed transport" in str(each.message) for each in caught)
    theirs.settimeout(5)
    assert theirs.recv(1) == b""
    theirs.close()


def test_connections_come_and_go_without_growth() -> None:
    rounds = int(os.environ.get("FASTERAPI_GROWTH_CONNECTIONS", "3000"))

    class Echo(asyncio.Protocol):
        def connection_made(self, transport: Any) -> None:
            self.transport = transport

        def data_received(self, data: bytes) -> None:
            self.transport.write(data)

    async def some(path: str, count: int) -> None:
        for number in range(count):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"ping")
            assert await reader.readexactly(4) == b"ping"
            if number % 2:
                writer.transport.abort()
            writer.close()
            await writer.wait_closed()

    async def main() -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = str(Path(folder, "s"))
            server = await asyncio.get_running_loop().create_unix_server(Echo, path)
            await some(path, 200)
            await asyncio.sleep(0.05)
            gc.collect()
            before = len(os.listdir("/proc/self/fd")), len(gc.get_objects())
            await some(path, rounds)
            await asyncio.sleep(0.05)
            gc.collect()
            after = len(os.listdir("/proc/self/fd")), len(gc.get_objects())
            assert after[0] <= before[0] and after[1] - before[1] < 100, (before, after)
            server.close()
            await server.wait_closed()

    fasterapi_core.run(main())
