"""loop.sock_*(): lazy as coroutines, safe to cancel, asyncio's checks."""

from __future__ import annotations

import asyncio
import gc
import socket
import ssl
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import fasterapi_core
import pytest

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["plain", "debug"])
def run(request: pytest.FixtureRequest) -> Run:
    return lambda coroutine: fasterapi_core.run(
        asyncio.wait_for(coroutine, 30), debug=request.param == "debug"
    )


def sockets() -> tuple[socket.socket, socket.socket]:
    a, b = socket.socketpair()
    a.setblocking(False)
    b.setblocking(False)
    return a, b


def test_receive_and_send_wait_as_needed(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()
        with a, b:
            b.send(b"now")
            assert await loop.sock_recv(a, 100) == b"now"
            task = asyncio.create_task(loop.sock_recv(a, 100))
            await asyncio.sleep(0.01)
            assert not task.done()
            b.send(b"later")
            assert await task == b"later"
            into = bytearray(3)
            reading = asyncio.create_task(loop.sock_recv_into(a, into))
            await asyncio.sleep(0.01)
            b.send(b"xyz")
            assert await reading == 3 and into == b"xyz"
            sending = asyncio.create_task(loop.sock_sendall(a, bytes(5_000_000)))
            got = 0
            while got < 5_000_000:
                got += len(await loop.sock_recv(b, 1 << 20))
            await sending
            b.shutdown(socket.SHUT_WR)
            assert await loop.sock_recv(a, 10) == b""

    run(main())


def test_nothing_happens_before_the_await(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()
        with a, b:
            call = loop.sock_sendall(a, b"x")
            assert asyncio.iscoroutine(call)
            with pytest.raises(BlockingIOError):
                b.recv(1)
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                del call
                gc.collect()
            assert "was never awaited" in str(caught[0].message)
            done = loop.sock_sendall(a, b"y")
            await done
            with pytest.raises(RuntimeError, match="cannot reuse"):
                await done
            assert b.recv(9) == b"y"

    run(main())


def test_cancelled_in_the_middle_takes_nothing(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()
        with a, b:
            for _ in range(3):
                task = asyncio.create_task(loop.sock_recv(a, 100))
                await asyncio.sleep(0)
                task.cancel()
                b.send(b"kept")  # there before the task runs again
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert await loop.sock_recv(a, 100) == b"kept"
            sending = asyncio.create_task(loop.sock_sendall(a, bytearray(5_000_000)))
            await asyncio.sleep(0.01)
            sending.cancel()
            with pytest.raises(asyncio.CancelledError):
                await sending
            assert not loop.remove_writer(a) and not loop.remove_reader(a)
            array = bytearray(10)
            into = asyncio.create_task(loop.sock_recv_into(a, array))
            await asyncio.sleep(0)
            into.cancel()
            await asyncio.wait([into])
            array.clear()  # its buffer is free again
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(loop.sock_recv(a, 1), 0.01)

    run(main())


def test_reader_and_writer_of_one_descriptor_are_apart(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()
        with a, b:
            reading = asyncio.create_task(loop.sock_recv(a, 10))
            writing = asyncio.create_task(loop.sock_sendall(a, bytes(3_000_000)))
            await asyncio.sleep(0.01)
            got = 0
            while got < 3_000_000:
                got += len(await loop.sock_recv(b, 1 << 20))
            await writing
            b.send(b"!")
            assert await reading == b"!"

    run(main())


def test_accept_connect_and_datagrams(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            listener.setblocking(False)
            client.setblocking(False)
            accepting = asyncio.create_task(loop.sock_accept(listener))
            await loop.sock_connect(client, listener.getsockname())
            sock, address = await accepting
            with sock:
                assert address == client.getsockname() and sock.gettimeout() == 0
                await loop.sock_sendall(client, b"hi")
                assert await loop.sock_recv(sock, 9) == b"hi"
        with socket.socket() as refused:
            refused.setblocking(False)
            with pytest.raises(ConnectionRefusedError):
                await loop.sock_connect(refused, listener_address())
        with socket.socket(type=socket.SOCK_DGRAM) as one, socket.socket(type=socket.SOCK_DGRAM) as two:
            for each in (one, two):
                each.bind(("127.0.0.1", 0))
                each.setblocking(False)
            receiving = asyncio.create_task(loop.sock_recvfrom(two, 100))
            await asyncio.sleep(0)
            assert await loop.sock_sendto(one, b"dgram", two.getsockname()) == 5
            assert await receiving == (b"dgram", one.getsockname())
            await loop.sock_sendto(one, b"again", ("localhost", two.getsockname()[1]))
            into = bytearray(9)
            assert await loop.sock_recvfrom_into(two, into) == (5, one.getsockname())

    run(main())


def listener_address() -> tuple[str, int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        return address


def test_asyncios_checks() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()
        with a, b:
            a.setblocking(True)
            for call in (loop.sock_recv(a, 1), loop.sock_sendall(a, b"x"), loop.sock_accept(a)):
                with pytest.raises(ValueError, match="the socket must be non-blocking"):
                    await call
            a.setblocking(False)
            with pytest.raises(ValueError, match="negative"):
                await loop.sock_recv(a, -1)
            transport, _ = await loop.create_connection(asyncio.Protocol, sock=b)
            with pytest.raises(RuntimeError, match="is used by transport"):
                await loop.sock_recv(b, 1)
            transport.close()
            wrapped = ssl.create_default_context().wrap_socket(
                socket.socket(), do_handshake_on_connect=False, server_hostname="x"
            )
            with wrapped, pytest.raises(TypeError, match="SSLSocket"):
                await loop.sock_recv(wrapped, 1)
            await asyncio.sleep(0)
        with pytest.raises(OSError, match="Bad file descriptor"):
            await loop.sock_recv(a, 1)

    fasterapi_core.run(main(), debug=True)


def test_close_takes_effect_when_the_waiting_call_has_ended(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        for cancelled in (False, True):
            a, b = sockets()
            with a, b:
                reading = asyncio.create_task(loop.sock_recv(a, 8))
                await asyncio.sleep(0)
                a.close()
                number = a.fileno()
                assert number != -1
                with socket.socket() as other:
                    assert other.fileno() != number  # not handed out while the call waits for it
                if cancelled:
                    reading.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await reading
                else:
                    b.send(b"late")
                    assert await reading == b"late"
                assert a.fileno() == -1
                assert b.recv(1) == b""
            a, b = sockets()
            with a, b:
                sending = asyncio.create_task(loop.sock_sendall(a, bytes(3_000_000)))
                await asyncio.sleep(0)
                a.close()
                if cancelled:
                    sending.cancel()
                    with pytest.raises(asyncio.CancelledError):
                        await sending
                else:
                    got = 0
                    while got < 3_000_000:
                        got += len(await loop.sock_recv(b, 1 << 20))
                    await sending
                assert a.fileno() == -1

    run(main())


def test_a_closed_socket_is_still_connected_by_the_call_that_connects_it(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as sock:
            sock.setblocking(False)
            connecting = asyncio.create_task(loop.sock_connect(sock, server.getsockname()))
            loop.call_soon(sock.close)
            await connecting
            await asyncio.sleep(0)
            assert sock.fileno() == -1
            server.accept()[0].close()

    run(main())


def test_a_call_lets_go_of_its_socket_when_another_takes_its_place(run: Run) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()
        with a, b:
            first = asyncio.create_task(loop.sock_recv(a, 8))
            await asyncio.sleep(0)
            second = asyncio.create_task(loop.sock_recv(a, 8))
            await asyncio.sleep(0)
            a.close()
            assert a.fileno() != -1
            b.send(b"x")
            assert await second == b"x"
            assert a.fileno() == -1
            first.cancel()
            await asyncio.wait([first])

    run(main())


def test_closing_the_loop_lets_go_of_sockets() -> None:
    loop = fasterapi_core.new_event_loop()
    a, b = sockets()
    with b:
        task = loop.create_task(loop.sock_recv(a, 8))
        loop.run_until_complete(asyncio.sleep(0))
        a.close()
        assert a.fileno() != -1
        loop.close()
        assert a.fileno() == -1
        assert not task.done()
        task._log_destroy_pending = False  # type: ignore[attr-defined]


def test_many_waits_leave_nothing_behind() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        a, b = sockets()

        async def some(count: int) -> None:
            for number in range(count):
                task = loop.create_task(loop.sock_recv(a, 64))
                await asyncio.sleep(0)
                if number % 3 == 0:
                    task.cancel()
                    await asyncio.wait([task])
                else:
                    b.send(b"x")
                    assert await task == b"x"

        with a, b:
            await some(100)
            gc.collect()
            before = len(gc.get_objects())
            await some(5000)
            gc.collect()
            assert len(gc.get_objects()) - before < 50

    fasterapi_core.run(main())
