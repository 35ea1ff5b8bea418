"""Tools of an application, and routes as tools, over HTTP on both lanes."""

import json
from typing import Annotated, Any

import pytest
from fasterapi import App, Depends, Header, HTTPException, Request
from fasterapi.security import OAuth2PasswordBearer
from fasterapi.testclient import TestClient
from pydantic import BaseModel

pytest.importorskip("fasterapi_mcp")


class Item(BaseModel):
    name: str
    count: int = 1


def build(middleware: bool) -> App:
    app = App(title="Tools")

    @app.tool
    def add(a: int, b: int) -> int:
        "Add two integers"
        return a + b

    oauth2 = OAuth2PasswordBearer(tokenUrl="token")

    def user(token: Annotated[str, Depends(oauth2)], x_team: Annotated[str, Header()] = "none") -> str:
        if token != "good":
            raise HTTPException(403, "bad token")
        return f"{token}/{x_team}"

    @app.post("/items/{item_id}", tool=True, dependencies=[])
    async def make(
        item_id: int, item: Item, who: Annotated[str, Depends(user)], q: str | None = None
    ) -> dict[str, Any]:
        "Make an item"
        return {"id": item_id, "item": item.model_dump(), "who": who, "q": q}

    @app.get("/search", tool="find")
    def search(words: Annotated[list[str], "words"] = [], exact: bool = False) -> list[str]:  # noqa: B006
        return [*words, str(exact)]

    if middleware:

        @app.middleware("http")
        async def passing(request: Request, call_next: Any) -> Any:
            return await call_next(request)

    return app


class Session:
    def __init__(self, client: TestClient) -> None:
        self.client = client
        self.headers = {"accept": "application/json, text/event-stream"}
        answer = self.post(
            "initialize",
            {
                "protocolVersion": "2025-11-25",
                "capabilities": {},
                "clientInfo": {"name": "t", "version": "1"},
            },
        )
        self.headers["mcp-session-id"] = answer.headers["mcp-session-id"]

    def post(self, method: str, params: Any, **headers: str) -> Any:
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
        return self.client.post("/mcp", json=message, headers={**self.headers, **headers})

    def result(self, method: str, params: Any = None, **headers: str) -> Any:
        answer = self.post(method, params or {}, **headers)
        data = [line[5:] for line in answer.text.splitlines() if line.startswith("data:") and len(line) > 8]
        return json.loads(data[-1] if data else answer.text)["result"]


@pytest.fixture(params=[False, True], ids=["native", "behind middleware"])
def session(request: pytest.FixtureRequest) -> Any:
    with TestClient(build(request.param)) as client:
        yield Session(client)


def test_tools_are_listed_with_schemas(session: Session) -> None:
    tools = {tool["name"]: tool for tool in session.result("tools/list")["tools"]}
    assert set(tools) == {"add", "make", "find"}
    schema = tools["make"]["inputSchema"]
    assert set(schema["properties"]) == {"item_id", "item", "q"}
    assert set(schema["required"]) == {"item_id", "item"}
    assert tools["make"]["description"] == "Make an item"


def test_declared_tool_and_route_tool_answer(session: Session) -> None:
    assert (
        session.result("tools/call", {"name": "add", "arguments": {"a": 1, "b": 2}})["content"][0]["text"]
        == "3"
    )
    arguments = {"item_id": 7, "item": {"name": "n"}, "q": "é"}
    made = session.result(
        "tools/call",
        {"name": "make", "arguments": arguments},
        **{"authorization": "Bearer good", "x-team": "red"},
    )
    assert json.loads(made["content"][0]["text"]) == {
        "id": 7,
        "item": {"name": "n", "count": 1},
        "who": "good/red",
        "q": "é",
    }


def test_the_routes_guards_refuse_the_tool_too(session: Session) -> None:
    arguments = {"item_id": 7, "item": {"name": "n"}}
    without = session.result("tools/call", {"name": "make", "arguments": arguments})
    assert without["isError"] and "Not authenticated" in without["content"][0]["text"]
    wrong = session.result("tools/call", {"name": "make", "arguments": arguments}, authorization="Bearer bad")
    assert wrong["isError"] and "bad token" in wrong["content"][0]["text"]
