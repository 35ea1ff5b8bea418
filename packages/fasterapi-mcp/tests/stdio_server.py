"""The server that the stdio tests talk to."""

import asyncio
import os
import subprocess
import sys
import time
from typing import Annotated

from fasterapi_mcp import Context, MCPError, MCPServer, ToolError
from pydantic import BaseModel, Field

print("printed at import: must not reach the protocol")
server = MCPServer("stdio-tests", version="9.9", instructions="Be kind")


@server.tool
def add(a: int, b: int = 10) -> int:
    "Add two integers"
    return a + b


@server.tool
async def add_async(a: int, b: int) -> int:
    "Add two integers, later"
    return a + b


@server.tool
async def slow(seconds: float) -> str:
    "Sleeps"
    await asyncio.sleep(seconds)
    return "slept"


@server.tool
def blocking(seconds: float) -> str:
    "Sleeps in a thread"
    time.sleep(seconds)
    return "slept"


@server.tool
def echo(text: str) -> str:
    "Gives the text back"
    return text


@server.tool
def half(x: float) -> float:
    "Halves"
    return x / 2


@server.tool
def flip(on: bool) -> bool:
    "Negates"
    return not on


class Item(BaseModel):
    name: str
    price: float = 1.0


@server.tool
def double(item: Item, times: Annotated[int, Field(ge=1, le=5)] = 2) -> Item:
    "Raises the price"
    return Item(name=item.name, price=item.price * times)


@server.tool
def fails() -> str:
    "Raises"
    raise ValueError("bad thing")


@server.tool
def fails_politely() -> str:
    "Raises ToolError"
    raise ToolError("please do not")


@server.tool
def fails_protocol() -> str:
    "Raises MCPError"
    raise MCPError(-1, "own code", {"x": 1})


@server.tool
def pollutes() -> str:
    "Writes to stdout in every way"
    print("print() must not reach the protocol", flush=True)
    os.write(1, b"neither may raw writes\n")
    subprocess.run([sys.executable, "-c", "print('nor children')"], check=True)
    return "clean"


@server.tool
async def tells(ctx: Context) -> str:
    "Logs and reports progress"
    await ctx.report_progress(1, 2, "half")
    await ctx.debug("fine")
    await ctx.error({"bad": True}, logger_name="me")
    await ctx.report_progress(2, 2)
    return f"{ctx.request_id} {ctx.protocol_version} {ctx.client_info.get('name')}"


@server.tool
async def asks(ctx: Context) -> str:
    "Asks the user"
    answer = await ctx.elicit("Price?", Item)
    return f"{answer.action} {answer.data}"


if __name__ == "__main__":
    server.run()
