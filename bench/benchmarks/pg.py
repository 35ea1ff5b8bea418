"""What do the driver's parts cost in the client? Needs a server in FASTERAPI_PG_DSN, or one that can be started."""

from __future__ import annotations

import asyncio
import contextlib

import fasterapi_core
import fasterapi_pg
from fasterapi.demo.postgres import Unavailable, postgres

ROWS = "select i, 'row ' || i as name, i * 0.5::float8 as x, i % 2 = 0 as even from generate_series(1, 1000) as g(i)"


class Driver:
    def setup(self) -> None:
        self.stack = contextlib.ExitStack()
        try:
            server = self.stack.enter_context(postgres())
        except Unavailable:
            raise NotImplementedError from None
        self.loop = fasterapi_core.new_event_loop()
        self.pool = fasterapi_pg.PgPool(server.dsn, min_size=1, max_size=4)
        self.loop.run_until_complete(self.fetch())

    def teardown(self) -> None:
        async def close() -> None:
            await self.pool.close()

        self.loop.run_until_complete(close())
        self.loop.close()
        self.stack.close()

    async def fetch(self) -> None:
        await self.pool.fetch(ROWS)

    def time_decode_1000_rows(self) -> None:
        self.loop.run_until_complete(self.fetch())

    def time_100_point_queries_multiplexed(self) -> None:
        async def main() -> None:
            await asyncio.gather(*(self.pool.fetchval("select $1::int", i) for i in range(100)))

        self.loop.run_until_complete(main())

    def time_acquire_release(self) -> None:
        async def main() -> None:
            for _ in range(100):
                async with self.pool.acquire():
                    pass

        self.loop.run_until_complete(main())
