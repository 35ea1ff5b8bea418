"""The workloads on FastAPI and uvicorn."""

from __future__ import annotations

import asyncio
import os
from typing import Any

import common
import uvicorn
from fastapi import FastAPI
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel


class Line(BaseModel):
    sku: str
    qty: int
    unit_price: float


class Item(BaseModel):
    id: int
    name: str
    description: str | None = None
    price: float
    tax: float | None = None
    in_stock: bool = True
    tags: list[str] = []
    lines: list[Line] = []


app = FastAPI()


@app.get("/")
async def root() -> dict[str, str]:
    return common.HELLO


@app.get("/sync")
def sync() -> dict[str, str]:
    return common.HELLO


@app.get("/users/{user_id}")
async def user(user_id: int) -> dict[str, int]:
    return {"id": user_id}


@app.post("/items")
async def items(item: Item) -> Item:
    return item


@app.get("/sleep0")
async def sleep0() -> dict[str, str]:
    await asyncio.sleep(0)
    return common.HELLO


@app.get("/text", response_class=PlainTextResponse)
async def text() -> str:
    return common.TEXT_1K


@app.get("/list")
async def rows() -> list[dict[str, Any]]:
    return common.ROWS


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), access_log=False, log_level="error")
