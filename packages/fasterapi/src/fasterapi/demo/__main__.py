"""``python -m fasterapi.demo [--serve] [--app FILE]``: the store, started and exercised."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fasterapi_core
import fasterapi_pg

from . import store
from .load import Load, http_load
from .postgres import Unavailable, postgres

HOST = "127.0.0.1"


def say(text: str = "") -> None:
    print(text, flush=True)


class Expectation(Exception):
    """The store did not do what it should."""


def expect(condition: bool, what: str) -> None:
    if not condition:
        raise Expectation(what)
    say(f"  ok  {what}")


def free_port() -> int:
    with socket.socket() as s:
        s.bind((HOST, 0))
        return int(s.getsockname()[1])


@contextlib.contextmanager
def server(app: Path, dsn: str, port: int) -> Iterator[float]:
    """The store in a process of its own; gives the seconds until its first answer."""
    began = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, str(app)],
        env={**os.environ, "STORE_DSN": dsn, "PORT": str(port)},
        stdin=subprocess.DEVNULL,
    )
    try:
        while True:
            if process.poll() is not None:
                raise Expectation(f"the store ended with status {process.returncode} before it answered")
            if time.monotonic() - began > 20:
                raise Expectation("the store did not answer within 20 s")
            with contextlib.suppress(OSError), socket.create_connection((HOST, port), timeout=2) as s:
                s.sendall(b"GET /openapi.json HTTP/1.1\r\nHost: store\r\nConnection: close\r\n\r\n")
                if s.recv(12) == b"HTTP/1.1 200":
                    break
            time.sleep(0.005)
        yield time.monotonic() - began
        process.send_signal(signal.SIGTERM)
        status = process.wait(15)
        expect(status in (0, -signal.SIGTERM), f"the store stopped when asked to (status {status})")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()


def use_http(base: str) -> int:
    """Everything a web client does; gives the number of a product."""
    import httpx

    say("\nHTTP, with httpx")
    with httpx.Client(base_url=base, timeout=10) as http:
        names = ["green tea", "black tea", "teapot", "cup", "saucer", "spoon", "kettle", "sieve"]
        ids = []
        for i in range(200):
            body = {"name": f"{names[i % len(names)]} no. {i}", "price_cents": 100 + i, "stock": 1_000_000}
            answer = http.post("/products", json=body)
            if answer.status_code != 201:
                raise Expectation(f"POST /products: {answer.status_code} {answer.text}")
            ids.append(answer.json()["id"])
        expect(len(set(ids)) == 200, "200 products created with POST /products")
        page = http.get("/products", params={"q": "tea", "page": 2, "size": 10}).json()
        expect(
            len(page["items"]) == 10 and page["total"] >= 75,
            f"search 'tea', page 2 of 10: {page['total']} found",
        )
        one = http.get(f"/products/{ids[0]}")
        expect(one.json()["name"] == "green tea no. 0", "a product read by its number")
        changed = http.put(f"/products/{ids[1]}", json={"name": "white tea", "price_cents": 250, "stock": 3})
        expect(changed.json()["name"] == "white tea", "a product replaced")
        expect(http.delete(f"/products/{ids[2]}").status_code == 204, "a product deleted")
        expect(http.get(f"/products/{ids[2]}").status_code == 404, "... and gone (404)")
        lines = [{"product_id": ids[0], "quantity": 2}, {"product_id": ids[1], "quantity": 3}]
        order = http.post("/orders", json={"customer": "Ada", "lines": lines})
        expect(order.status_code == 201, "an order placed in a transaction")
        expect(order.json()["total_cents"] == 950, "... it sums up to 9.50")
        again = http.post("/orders", json={"customer": "Bob", "lines": lines})
        expect(again.status_code == 409, "the same again: refused, out of stock (409)")
        stock = http.get(f"/products/{ids[0]}").json()["stock"]
        expect(stock == 1_000_000 - 2, "... and its first line was rolled back")
        got = http.get(f"/orders/{order.json()['id']}").json()
        expect(got["lines"] == lines, "the order read back with its lines")
        bad = http.post("/products", json={"name": "", "price_cents": -1})
        expect(
            bad.status_code == 422 and len(bad.json()["detail"]) == 2,
            "a bad product: both faults named (422)",
        )
        with http.stream("GET", "/report.csv") as report:
            rows = list(report.iter_lines())
        expect(
            len(rows) >= 200 and "content-length" not in report.headers,
            f"a report of {len(rows)} lines, streamed",
        )
        schema = http.get("/openapi.json").json()
        expect("/products/{product_id}" in schema["paths"], f"OpenAPI {schema['openapi']} at /openapi.json")
    return int(ids[0])


def result_of(answer: Any) -> Any:
    """The data of a tool's result, structured or as text."""
    if answer.structured_content is not None:
        return answer.structured_content
    return fasterapi_core.json_loads(answer.content[0].text)


async def use_mcp(base: str, product: int) -> None:
    """The same operations as tools, through the protocol's official client."""
    from mcp import Client

    say("\nMCP, with the official client")
    async with Client(f"{base}/mcp") as client:
        tools = await client.list_tools()
        names = sorted(tool.name for tool in tools.tools)
        expect({"get_product", "place_order", "search_products"} <= set(names), f"tools: {', '.join(names)}")
        found: Any = await client.call_tool("search_products", {"q": "teapot", "size": 3})
        expect(not found.is_error and len(result_of(found)["items"]) == 3, "search_products called")
        placed: Any = await client.call_tool(
            "place_order",
            {"order": {"customer": "an agent", "lines": [{"product_id": product, "quantity": 1}]}},
        )
        expect(not placed.is_error and result_of(placed)["total_cents"] == 100, "place_order called")
        refused: Any = await client.call_tool("get_product", {"product_id": 999_999_999})
        expect(bool(refused.is_error), f"an unknown product: {refused.content[0].text}")


def request(method: str, path: str, body: bytes = b"", headers: str = "") -> bytes:
    head = f"{method} {path} HTTP/1.1\r\nHost: {HOST}\r\n{headers}"
    if body:
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"\r\n" + body


async def measure(port: int, dsn: str, product: int, seconds: float) -> dict[str, Load]:
    """Loads of `seconds` each."""
    ids = itertools.count(1)
    order = b'{"customer":"load","lines":[{"product_id":%d,"quantity":1}]}' % product
    mcp_headers = "Accept: application/json, text/event-stream\r\nMCP-Protocol-Version: 2025-11-25\r\n"
    session = await open_mcp_session(port, mcp_headers)

    def tool_call() -> bytes:
        body = (
            b'{"jsonrpc":"2.0","id":%d,"method":"tools/call","params":{"name":"get_product","arguments":{"product_id":%d}}}'
            % (next(ids), product)
        )
        return request("POST", "/mcp", body, mcp_headers + session)

    document = request("GET", "/openapi.json")
    one = request("GET", f"/products/{product}")
    search = request("GET", "/products?q=teapot&size=5")
    place = request("POST", "/orders", order)
    loads = {
        "GET /openapi.json (no database)": await http_load(HOST, port, lambda: document, seconds=seconds),
        "GET /products/{id}": await http_load(HOST, port, lambda: one, seconds=seconds),
        "GET /products?q=": await http_load(HOST, port, lambda: search, seconds=seconds),
        "POST /orders (transaction)": await http_load(HOST, port, lambda: place, seconds=seconds),
        "MCP tools/call get_product": await http_load(HOST, port, tool_call, seconds=seconds),
    }
    loads["PgPool.fetchrow, 100 tasks"] = await query_load(dsn, product, seconds)
    return loads


async def open_mcp_session(port: int, headers: str) -> str:
    """Initializes a session of the 2025-11-25 protocol; gives the header that names it ("" when there is none)."""
    body = (
        b'{"jsonrpc":"2.0","id":0,"method":"initialize","params":{"protocolVersion":"2025-11-25","capabilities":{},'
        b'"clientInfo":{"name":"load","version":"1"}}}'
    )
    reader, writer = await asyncio.open_connection(HOST, port)
    writer.write(request("POST", "/mcp", body, headers + "Connection: close\r\n"))
    answer = (await reader.read()).decode()
    writer.close()
    session = next((line for line in answer.split("\r\n") if line.lower().startswith("mcp-session-id:")), "")
    return f"{session}\r\n" if session else ""


async def query_load(dsn: str, product: int, seconds: float, tasks: int = 100) -> Load:
    """Rows by key through one pool, in this process."""
    latencies: list[float] = []
    pool = fasterapi_pg.PgPool(dsn, min_size=1, max_size=4)
    end = time.perf_counter() + seconds

    async def ask() -> None:
        while (now := time.perf_counter()) < end:
            await pool.fetchrow("select * from product where id = $1", product)
            latencies.append(time.perf_counter() - now)

    await pool.fetchval("select 1")
    began = time.perf_counter()
    await asyncio.gather(*(ask() for _ in range(tasks)))
    spent = time.perf_counter() - began
    await pool.close()
    return Load(len(latencies), spent, sorted(latencies), {})


def show(loads: dict[str, Load]) -> None:
    say(
        "\nA short load: 32 connections (100 tasks for the pool); the clients are Python and share the machine"
    )
    say(f"  {'':34}{'per second':>12}{'p50 us':>10}{'p99 us':>10}")
    for name, load in loads.items():
        say(f"  {name:34}{load.rate:12,.0f}{load.percentile(0.5):10,.0f}{load.percentile(0.99):10,.0f}")
        bad = {status: n for status, n in load.statuses.items() if status >= 400}
        if bad:
            raise Expectation(f"{name}: answers with errors: {bad}")


def run(arguments: argparse.Namespace) -> None:
    app = Path(arguments.app or store.__file__).resolve()
    port = arguments.port or (8000 if arguments.serve else free_port())
    base = f"http://{HOST}:{port}"
    began = time.monotonic()
    with postgres() as database:
        say(f"PostgreSQL from {database.source}: up after {time.monotonic() - began:.1f} s")
        with server(app, database.dsn, port) as ready:
            say(f"the store ({app.name}) answers after {ready * 1000:.0f} ms")
            say(f"  {base}/docs  {base}/products  {base}/report.csv  MCP: {base}/mcp")
            if not arguments.serve or arguments.exercise:
                product = use_http(base)
                fasterapi_core.run(use_mcp(base, product))
                show(fasterapi_core.run(measure(port, database.dsn, product, arguments.seconds)))
            if arguments.serve:
                say("\nserving until Ctrl+C")
                with contextlib.suppress(KeyboardInterrupt):
                    signal.pause()
            say()
    say(f"done in {time.monotonic() - began:.1f} s; python3 dev.py demo --serve keeps it running")


def leaves(group: BaseExceptionGroup[Any]) -> Iterator[BaseException]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from leaves(error)
        else:
            yield error


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fasterapi.demo", description=__doc__)
    parser.add_argument("--serve", action="store_true", help="keep the store running until Ctrl+C")
    parser.add_argument("--exercise", action="store_true", help="with --serve: exercise it first")
    parser.add_argument("--app", help="another file to run as the store")
    parser.add_argument("--port", type=int, default=0, help="default: a free one; 8000 with --serve")
    parser.add_argument("--seconds", type=float, default=1.5, help="length of each load")
    arguments = parser.parse_args()
    try:
        run(arguments)
    except* (Expectation, Unavailable) as group:  # task groups of clients wrap what is raised inside them
        say(f"\nFAILED: {'; '.join(str(error) for error in leaves(group))}")
        return_code = 1
    else:
        return_code = 0
    return return_code


if __name__ == "__main__":
    sys.exit(main())
