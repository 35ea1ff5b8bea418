"""Schemas, registration, and what the public package holds."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Annotated, Any

import fasterapi_mcp
import pytest
from fasterapi_mcp import Context, Image, MCPServer, TextContent
from fasterapi_mcp._features import Prompt, ResourceTemplate, Tool, header_params
from fasterapi_mcp._inline import cannot_block
from pydantic import BaseModel, Field
from typing_extensions import TypedDict


class Item(BaseModel):
    name: str
    price: float = 1.0


@dataclasses.dataclass
class Point:
    x: int


class Row(TypedDict):
    id: int


def test_simple_functions_are_described_as_pydantic_would() -> None:
    def sample(a_b: int, c: float = 2.0, d: str = "x", e: bool = True, f: str = None) -> int:  # type: ignore[assignment]  # noqa: RUF013
        "Doc"
        return a_b

    tool = Tool(sample)
    assert tool.parameters.simple
    assert tool.input_schema == tool.parameters.model.model_json_schema(by_alias=True)
    assert tool.output_schema == {
        "properties": {"result": {"title": "Result", "type": "integer"}},
        "required": ["result"],
        "title": "sampleOutput",
        "type": "object",
    }
    assert tool.to_dict()["description"] == "Doc"


def test_rich_parameters() -> None:
    def tool(
        item: Item, tags: Annotated[list[str], Field(description="Labels", min_length=1)], ctx: Context
    ) -> None:
        pass

    schema = Tool(tool).input_schema
    assert schema["properties"]["item"] == {"$ref": "#/$defs/Item"}
    assert schema["properties"]["tags"]["description"] == "Labels"
    assert schema["required"] == ["item", "tags"] and "ctx" not in schema["properties"]


@pytest.mark.parametrize(
    ("annotation", "wrapped", "kind"),
    [
        (Item, False, "object"),
        (Point, False, "object"),
        (Row, False, "object"),
        (dict[str, int], False, "object"),
        (list[Item], True, "object"),
        (int | None, True, "object"),
        (None, True, "object"),
        (Any, False, None),
        (TextContent, False, None),
        (list[Image | str], False, None),
    ],
)
def test_output_schemas(annotation: Any, wrapped: bool, kind: str | None) -> None:
    def tool():  # type: ignore[no-untyped-def]
        pass

    tool.__annotations__["return"] = annotation
    made = Tool(tool)
    assert made.returns.wrapped is wrapped
    assert (made.output_schema or {}).get("type") == kind
    assert Tool(tool, structured_output=False).output_schema is None


def test_names_that_pydantic_reserves() -> None:
    def tool(schema: str, copy: list[int], model_config: str = "x") -> str:
        return schema + str(copy) + model_config

    made = Tool(tool)
    assert set(made.input_schema["properties"]) == {"schema", "copy", "model_config"}
    assert made.bind({"schema": "s", "copy": [1]}) == {"schema": "s", "copy": [1], "model_config": "x"}


@pytest.mark.parametrize("bad", [lambda *a: a, lambda **k: k])
def test_signatures_without_a_schema_are_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match="no schema"):
        MCPServer("x").tool(name="bad")(bad)


def test_registration_errors() -> None:
    server = MCPServer("x")
    with pytest.raises(ValueError, match="lambda"):
        server.tool(lambda: 1)
    with pytest.raises(ValueError, match="variables"):
        server.resource("a://{x}", name="r")(lambda y: y)
    with pytest.raises(KeyError):
        server.remove_tool("none")
    with pytest.raises(ValueError, match="transport"):
        server.run("pigeon")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="token"):
        server.tool(
            name="h",
            input_schema={"type": "object", "properties": {"a": {"type": "string", "x-mcp-header": "a b"}}},
        )(lambda a: a)


@pytest.mark.parametrize(
    "schema",
    [
        {"properties": {"a": {"type": "array", "items": {"type": "string", "x-mcp-header": "A"}}}},
        {"properties": {"a": {"type": "number", "x-mcp-header": "A"}}},
        {"properties": {"a": {"type": "string", "x-mcp-header": ""}}},
        {
            "properties": {
                "a": {"type": "string", "x-mcp-header": "A"},
                "b": {"type": "string", "x-mcp-header": "a"},
            }
        },
        {"x-mcp-header": "A"},
    ],
)
def test_bad_header_annotations_are_refused(schema: Any) -> None:
    with pytest.raises(ValueError, match="x-mcp-header"):
        header_params("t", schema)


def test_good_header_annotations() -> None:
    inner = {"type": "object", "properties": {"x-mcp-header": {"type": "boolean", "x-mcp-header": "B"}}}
    assert header_params("t", {"type": "object", "properties": {"a": inner}}) == [
        ("mcp-param-b", ("a", "x-mcp-header"), "boolean")
    ]


def test_which_functions_stay_on_the_loop() -> None:
    def plain(a: int, b: int) -> str:
        return f"{a + b:>5}" if a else "none"

    def calls(a: int) -> str:
        return str(a)

    def loops(a: int) -> int:
        while a:
            a -= 1
        return a

    def imports() -> None:
        import os  # noqa: F401

    async def coroutine() -> None: ...

    assert cannot_block(plain)
    assert not any(cannot_block(fn) for fn in (calls, loops, imports, coroutine, print, calls.__call__))  # type: ignore[operator]
    assert [Tool(fn).mode for fn in (plain, calls, coroutine)] == ["inline", "slow", "async"]
    assert Tool(calls, inline=True).mode == "context"


@pytest.mark.parametrize(
    ("uri", "arguments"),
    [
        ("note://7/x", {"id": "7"}),
        ("note://a%20b/x", {"id": "a b"}),
        ("note://../x", None),
        ("note://%2e%2e/x", None),
        ("note://a%2Fb/x", None),
        ("note://a%00/x", None),
        ("note:///x", None),
        ("note://7/x/more", None),
        ("xnote://7/x", None),
    ],
)
def test_templates_keep_variables_in_their_place(uri: str, arguments: Any) -> None:
    def note(id: str) -> str:
        return id

    assert ResourceTemplate(note, "note://{id}/x").match(uri) == arguments


def test_template_with_a_typed_and_a_deep_variable() -> None:
    def file(n: int, path: str) -> str:
        return path

    template = ResourceTemplate(file, "f://{n}/{path*}")
    assert template.match("f://3/a/b") == {"n": 3, "path": "a/b"}
    assert template.match("f://x/a") is None
    assert template.match("f://3/a/../b") is None
    assert template.to_dict()["uriTemplate"] == "f://{n}/{path}"


def test_prompt_arguments() -> None:
    def ask(topic: Annotated[str, Field(description="What about")], n: int = 1) -> str:
        return topic * n

    prompt = Prompt(ask)
    assert prompt.to_dict()["arguments"] == [
        {"name": "topic", "description": "What about", "required": True},
        {"name": "n", "required": False},
    ]
    assert prompt.bind({"topic": "x", "n": "3"}) == {"topic": "x", "n": 3}


def test_exports_are_a_sorted_list() -> None:
    assert sorted(fasterapi_mcp.__all__) == fasterapi_mcp.__all__
    assert all(hasattr(fasterapi_mcp, name) for name in fasterapi_mcp.__all__)


def test_a_server_of_simple_tools_does_not_import_pydantic() -> None:
    script = """
import sys
from fasterapi_mcp import MCPServer
server = MCPServer("x")
@server.tool
def add(a: int, b: int) -> int:
    return a + b
server._prepare()
assert "pydantic" not in sys.modules, "imported too early"
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_servers_are_collected() -> None:
    import gc
    import weakref

    def make() -> weakref.ref[Any]:
        server = MCPServer("x")
        server.tool(name="a")(lambda: 1)
        return weakref.ref(server)

    ref = make()
    gc.collect()
    assert ref() is None
