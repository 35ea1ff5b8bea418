"""How long does a request take through a server in this process, over a real socket?

One keep-alive connection; 200 requests written in one piece, the answers read to the end. The peer is the time that
the same bytes take through a bare asyncio protocol on the same loop.
"""

from __future__ import annotations

import asyncio

import fasterapi_core
import fasterapi_http

N = 200
REQUEST = b"GET /users/1234 HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n" + b'{"id":1234}'


async def user(user_id: int) -> dict[str, int]:
    return {"id": user_id}


class Bare(asyncio.Protocol):
    """Answers every request without looking at it."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(ANSWER * data.count(b"\r\n\r\n"))


class Server:
    params = ["fasterapi_http", "bare protocol"]
    param_names = ("server",)

    def setup(self, name: str) -> None:
        self.loop = fasterapi_core.new_event_loop()
        self.loop.run_until_complete(self.start(name))

    async def start(self, name: str) -> None:
        if name == "fasterapi_http":
            server = fasterapi_http.Server()
            server.add_route(
                ["GET"],
                "/users/{user_id}",
                user,
                mode="async",
                args=[("path", "user_id", "int", True, None)],
                response=fasterapi_http.ResponseSpec(),
                slow=None,
            )
            server.freeze()
            await server.start(host="127.0.0.1", port=0)
            self.server: object = server
            port = server.port
        else:
            bare = await self.loop.create_server(Bare, "127.0.0.1", 0)
            self.server = bare
            port = bare.sockets[0].getsockname()[1]
        self.reader, self.writer = await asyncio.open_connection("127.0.0.1", port)

    def teardown(self, name: str) -> None:
        self.writer.close()
        self.loop.run_until_complete(asyncio.sleep(0))
        self.loop.close()

    async def ask(self, count: int) -> None:
        self.writer.write(REQUEST * count)
        for _ in range(count):
            await self.reader.readuntil(b"}")

    def time_one_request(self, name: str) -> None:
        self.loop.run_until_complete(self.ask(1))

    def time_200_pipelined(self, name: str) -> None:
        self.loop.run_until_complete(self.ask(N))
