"""Run in an environment into which built wheels were installed: ``smoke.py all`` or ``smoke.py pg-alone``.

Imports nothing from the repository. PostgreSQL comes from FASTERAPI_PG_DSN.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import subprocess
import sys
import textwrap


def dsn() -> str:
    found = os.environ.get("FASTERAPI_PG_DSN")
    assert found, "FASTERAPI_PG_DSN must name a server"
    return found


def core_copies() -> list[str]:
    with open("/proc/self/maps") as maps:
        return sorted({line.split()[-1] for line in maps if "libfasterapi_core" in line})


def check_pg() -> None:
    """The driver in an asyncio program, on its own loop and on asyncio's, and in a blocking script."""
    import fasterapi_core
    import fasterapi_pg

    async def main() -> None:
        connection = await fasterapi_pg.connect(dsn())
        assert await connection.fetchval("select $1::int + 1", 41) == 42
        await connection.close()
        async with fasterapi_pg.create_pool(dsn(), min_size=1, max_size=4) as pool:
            sums = await asyncio.gather(*(pool.fetchval("select $1::int * 2", i) for i in range(50)))
            assert sums == [2 * i for i in range(50)]

    asyncio.run(main())
    fasterapi_core.run(main())
    pool = fasterapi_pg.PgPool(dsn(), min_size=1, max_size=2)
    assert pool.exec("select 1 as a, 'x' as b").all()[0]["b"] == "x"
    with pool.tx() as tx:
        assert tx.exec("select $1::text", "hé").scalar() == "hé"
    try:
        pool.exec("select 1/0")
    except fasterapi_pg.PostgresError as error:
        assert error.sqlstate == "22012"
    else:
        raise AssertionError("no error")
    pool.close()


def check_pg_alone() -> None:
    brought = {d.metadata["Name"].lower().replace("_", "-") for d in importlib.metadata.distributions()}
    brought -= {"pip", "setuptools", "wheel"}
    assert brought == {"fasterapi-core", "fasterapi-pg"}, brought
    check_pg()


def check_all() -> None:
    import fasterapi
    import fasterapi_core
    import fasterapi_http
    import fasterapi_mcp
    import fasterapi_pg

    for module in (fasterapi, fasterapi_core, fasterapi_http, fasterapi_mcp, fasterapi_pg):
        name = module.__name__.replace("_", "-")
        assert module.__version__ == importlib.metadata.version(name), name
        assert "site-packages" in str(module.__file__), module.__file__
    assert len(core_copies()) == 1, core_copies()
    assert fasterapi_core.json_loads(fasterapi_core.json_dumps({"a": [1, "é"]})) == {"a": [1, "é"]}
    check_pg()
    check_server()
    fasterapi_mcp.MCPServer("smoke", version="1")


PROGRAM = """
    import sys
    from fasterapi import App

    app = App()

    @app.get("/users/{user_id}")
    async def user(user_id: int, q: str = "none"):
        return {"id": user_id, "q": q}

    @app.get("/seed/{name}")
    def seed(req, res):
        return {"name": req.path_params["name"]}

    @app.tool
    def add(a: int, b: int) -> int:
        return a + b

    app.run(host="127.0.0.1", port=int(sys.argv[1]), access_log=False)
"""


def check_server() -> None:
    """A real process, real sockets: the App over HTTP, and a tool over MCP."""
    import http.client
    import json
    import socket
    import time

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    process = subprocess.Popen([sys.executable, "-I", "-c", textwrap.dedent(PROGRAM), str(port)])
    try:
        for _ in range(400):
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                assert process.poll() is None, "the server ended"
                time.sleep(0.025)
        client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)

        def ask(method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str]:
            client.request(
                method, path, body, {name.replace("_", "-"): value for name, value in headers.items()}
            )
            answer = client.getresponse()
            return answer.status, answer.read().decode()

        assert ask("GET", "/users/7?q=x") == (200, '{"id":7,"q":"x"}')
        assert ask("GET", "/users/seven")[0] == 422
        assert ask("GET", "/seed/ada") == (200, '{"name":"ada"}')
        assert ask("GET", "/none")[0] == 404
        assert json.loads(ask("GET", "/openapi.json")[1])["openapi"].startswith("3.1")
        call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call"}
        call["params"] = {
            "name": "add",
            "arguments": {"a": 2, "b": 3},
            "_meta": {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientInfo": {"name": "smoke", "version": "1"},
                "io.modelcontextprotocol/clientCapabilities": {},
            },
        }
        status, text = ask(
            "POST",
            "/mcp",
            json.dumps(call),
            Content_Type="application/json",
            Accept="application/json, text/event-stream",
            MCP_Protocol_Version="2026-07-28",
            Mcp_Method="tools/call",
            Mcp_Name="add",
        )
        assert status == 200 and '"5"' in text, (status, text)
        client.close()
        process.terminate()
        assert process.wait(10) in (0, -15)
    finally:
        if process.poll() is None:
            process.kill()


if __name__ == "__main__":
    {"all": check_all, "pg-alone": check_pg_alone}[sys.argv[1]]()
    print(f"SMOKE OK {sys.argv[1]} Python {sys.version.split()[0]} {core_copies()}")
