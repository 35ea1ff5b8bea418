"""Nothing grows: memory, objects and descriptors after many operations of each kind.

``FASTERAPI_GROWTH_OPERATIONS`` sets how many (20,000 in a normal run, 1,000,000 in the long one).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import resource
import socket
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import fasterapi_core
import pytest
from fasterapi_core import _core

OPERATIONS = int(os.environ.get("FASTERAPI_GROWTH_OPERATIONS", "20000"))

Kind = Callable[[int], Awaitable[None]]


def resident() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * resource.getpagesize()


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


def nothing(*_: Any) -> None:
    return None


async def call_soon(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n // 10):
        for i in range(10):
            loop.call_soon(nothing, i)
        await asyncio.sleep(0)


async def call_soon_cancelled(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n // 10):
        for i in range(10):
            loop.call_soon(nothing, i, i).cancel()
        await asyncio.sleep(0)


async def call_later_cancelled(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        loop.call_later(1000, nothing, 1).cancel()


async def call_later(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n // 100):
        for _ in range(100):
            loop.call_later(0, nothing)
        await asyncio.sleep(0)


async def failing_callbacks(n: int) -> None:
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(nothing)
    for _ in range(n):
        loop.call_soon(divmod, 1, 0)
        await asyncio.sleep(0)


async def tasks(n: int) -> None:
    async def work() -> int:
        await asyncio.sleep(0)
        return 1

    for _ in range(n):
        await asyncio.create_task(work())


async def cancelled_tasks(n: int) -> None:
    for _ in range(n):
        task = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(0)
        task.cancel()
        try:
            await task
        except asyncio.CancelledError:
            pass


async def timeouts(n: int) -> None:
    for _ in range(n):
        async with asyncio.timeout(1000):
            await asyncio.sleep(0)


async def asyncio_futures(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n):
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future


async def native_futures(n: int) -> None:
    loop = asyncio.get_running_loop()
    for i in range(n):
        future: fasterapi_core.Future[int] = fasterapi_core.Future()
        chained = future.then(lambda value: value + 1)
        if i % 3 == 0:
            loop.call_soon(future.set_result, i)
            await chained
        elif i % 3 == 1:
            loop.call_soon(future.set_exception, ValueError())
            try:
                await chained
            except ValueError:
                pass
        else:
            chained.cancel()
            future.cancel()


async def native_tasks(n: int) -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable")

    async def immediate(value: int) -> int:
        variable.set(value)
        return value

    async def suspending(value: int) -> int:
        await asyncio.sleep(0)
        if value % 5 == 0:
            raise ValueError(value)
        return value

    for i in range(n // 2):
        _, outcome = _core.task_call(immediate, i)
        await outcome
        _, outcome = _core.task_call(suspending, i)
        try:
            await outcome
        except ValueError:
            pass


async def readers_and_writers(n: int) -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    for end in (left, right):
        end.setblocking(False)
    for _ in range(n // 4):
        loop.add_reader(left, nothing)
        loop.add_writer(right, nothing)
        await asyncio.sleep(0)
        loop.remove_reader(left)
        loop.remove_writer(right)
    left.close()
    right.close()


async def sock_calls(n: int) -> None:
    loop = asyncio.get_running_loop()
    left, right = socket.socketpair()
    for end in (left, right):
        end.setblocking(False)
    buffer = bytearray(10)
    for i in range(n // 4):
        receiving = asyncio.ensure_future(
            loop.sock_recv_into(right, buffer) if i % 2 else loop.sock_recv(right, 10)
        )
        await asyncio.sleep(0)
        if i % 7 == 0:
            receiving.cancel()
            await asyncio.wait([receiving])
            continue
        await loop.sock_sendall(left, b"0123456789")
        await receiving
    left.close()
    right.close()


async def connections(n: int) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(100))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for i in range(n // 20):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"ping")
        if i % 3:
            await reader.read()
        else:
            writer.transport.abort()
        writer.close()
        try:
            await writer.wait_closed()
        except OSError:
            pass
    server.close()
    await server.wait_closed()


async def pipes_and_datagrams(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n // 100):
        transport, _ = await loop.create_datagram_endpoint(
            asyncio.DatagramProtocol, local_addr=("127.0.0.1", 0)
        )
        transport.sendto(b"x", transport.get_extra_info("sockname"))
        await asyncio.sleep(0)
        transport.close()
        reading, writing = os.pipe()
        source, _ = await loop.connect_read_pipe(asyncio.Protocol, os.fdopen(reading, "rb", 0))
        sink, _ = await loop.connect_write_pipe(asyncio.BaseProtocol, os.fdopen(writing, "wb", 0))
        sink.write(b"x")
        sink.close()
        source.close()
        await asyncio.sleep(0)
    await asyncio.sleep(0.01)


async def executor_calls(n: int) -> None:
    loop = asyncio.get_running_loop()
    for _ in range(n // 20):
        await loop.run_in_executor(None, nothing)


async def loops(n: int) -> None:
    """New loops, closed and dropped; run in a thread, since this one has a loop."""

    def many() -> None:
        for _ in range(n // 200):
            fasterapi_core.run(asyncio.sleep(0))

    await asyncio.get_running_loop().run_in_executor(None, many)


KINDS: list[Kind] = [
    call_soon,
    call_soon_cancelled,
    call_later,
    call_later_cancelled,
    failing_callbacks,
    tasks,
    cancelled_tasks,
    timeouts,
    asyncio_futures,
    native_futures,
    native_tasks,
    readers_and_writers,
    sock_calls,
    connections,
    pipes_and_datagrams,
    executor_calls,
    loops,
]


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_no_growth(kind: Kind) -> None:
    async def main() -> tuple[int, int, int, int]:
        await kind(max(OPERATIONS // 4, 2000))  # pools and caches fill
        await asyncio.sleep(0.05)
        gc.collect()
        objects, open_before, memory = sys.getallocatedblocks(), descriptors(), resident()
        await kind(OPERATIONS)
        await asyncio.sleep(0.05)
        gc.collect()
        return (
            sys.getallocatedblocks() - objects,
            descriptors() - open_before,
            resident() - memory,
            OPERATIONS,
        )

    blocks, opened, bytes_more, operations = fasterapi_core.run(main())
    assert opened <= 0, f"{opened} descriptors left open"
    assert blocks < max(200, operations / 100), (
        f"{blocks} more allocated blocks after {operations} operations"
    )
    assert bytes_more < 4 << 20, f"{bytes_more} more bytes resident after {operations} operations"
