"""The fixture server of the official conformance suite: `python conformance_server.py PORT`."""

import asyncio
import json
import struct
import sys
import zlib
from typing import Annotated, Any

from fasterapi_mcp import (
    AudioContent,
    Completion,
    Context,
    EmbeddedResource,
    ImageContent,
    InputRequired,
    MCPError,
    MCPServer,
    Message,
    TextContent,
)
from pydantic import BaseModel, Field


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + _chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0))
    + _chunk(b"IDAT", zlib.compress(b"\0\xff\0\0"))
    + _chunk(b"IEND", b"")
)
WAV = b"RIFF" + struct.pack("<I", 52) + b"WAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8)
WAV += b"data" + struct.pack("<I", 16) + b"\x80" * 16

server = MCPServer("everything", version="1.0.0", request_state_key=b"a key for tests only, 32 bytes!!")


@server.tool
def test_simple_text() -> str:
    "Plain text"
    return "This is a simple text response for testing."


@server.tool
def test_image_content() -> ImageContent:
    "An image"
    return ImageContent(PNG, "image/png")


@server.tool
def test_audio_content() -> AudioContent:
    "A sound"
    return AudioContent(WAV, "audio/wav")


@server.tool
def test_embedded_resource() -> EmbeddedResource:
    "An embedded resource"
    return EmbeddedResource("test://embedded-resource", "This is an embedded resource content.", "text/plain")


@server.tool(structured_output=False)
def test_multiple_content_types() -> list[Any]:
    "Text, image and resource"
    return [
        TextContent("Multiple content types test:"),
        ImageContent(PNG, "image/png"),
        EmbeddedResource("test://mixed-content-resource", '{"test":"data","value":123}', "application/json"),
    ]


@server.tool
async def test_tool_with_logging(ctx: Context) -> str:
    "Logs three times"
    for text in ("Tool execution started", "Tool processing data", "Tool execution completed"):
        await ctx.info(text)
        await asyncio.sleep(0.05)
    return "done"


@server.tool
async def test_tool_with_progress(ctx: Context) -> str:
    "Progress 0, 50, 100"
    for value in (0, 50, 100):
        await ctx.report_progress(value, 100, f"Completed step {value} of 100")
        await asyncio.sleep(0.05)
    return "done"


@server.tool
def test_error_handling() -> str:
    "Always fails"
    raise RuntimeError("This tool intentionally returns an error for testing")


@server.tool
async def test_sampling(prompt: str, ctx: Context) -> str:
    "Asks the client's model"
    answer = await ctx.sample(prompt, max_tokens=100)
    content = answer["content"]
    return "LLM response: " + (content.get("text", "?") if isinstance(content, dict) else "?")


@server.tool
async def test_elicitation(message: str, ctx: Context) -> str:
    "Asks the user"
    schema = {"type": "object", "properties": {"response": {"type": "string", "description": "Your answer"}}}
    answer = await ctx.elicit(message, schema)
    return f"User response: action={answer.action}"


class Defaults(BaseModel):
    name: str = "John Doe"
    age: int = 30
    score: float = 95.5
    status: str = Field("active", json_schema_extra={"enum": ["active", "inactive", "pending"]})
    verified: bool = True


@server.tool
async def test_elicitation_sep1034_defaults(ctx: Context) -> str:
    "Elicitation with defaults"
    answer = await ctx.elicit("defaults", Defaults)
    return f"Elicitation completed: action={answer.action}"


ENUMS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "untitledSingle": {"type": "string", "enum": ["option1", "option2", "option3"]},
        "titledSingle": {
            "type": "string",
            "oneOf": [{"const": f"value{i}", "title": f"Option {i}"} for i in (1, 2, 3)],
        },
        "legacyEnum": {
            "type": "string",
            "enum": ["opt1", "opt2", "opt3"],
            "enumNames": ["Option One", "Option Two", "Option Three"],
        },
        "untitledMulti": {
            "type": "array",
            "items": {"type": "string", "enum": ["option1", "option2", "option3"]},
        },
        "titledMulti": {
            "type": "array",
            "items": {"anyOf": [{"const": f"value{i}", "title": f"Choice {i}"} for i in (1, 2, 3)]},
        },
    },
}


@server.tool
async def test_elicitation_sep1330_enums(ctx: Context) -> str:
    "Elicitation with enumerations"
    answer = await ctx.elicit("enums", ENUMS)
    return f"Elicitation completed: action={answer.action}"


@server.tool
async def test_reconnection(ctx: Context) -> str:
    "Closes its stream in the middle"
    await ctx.close_sse_stream()
    await asyncio.sleep(0.2)
    return "Reconnection test completed"


@server.tool
def test_x_mcp_header(
    region: Annotated[str, Field(json_schema_extra={"x-mcp-header": "Region"})] = "none",
) -> str:
    "Mirrors region into Mcp-Param-Region"
    return region


@server.tool
def test_missing_capability(ctx: Context) -> str:
    "Needs sampling"
    if "sampling" not in ctx.client_capabilities:
        raise MCPError(-32021, "This tool needs sampling", {"requiredCapabilities": {"sampling": {}}})
    return "ok"


@server.tool
async def test_logging_tool(ctx: Context) -> str:
    "Logs once"
    await ctx.info("hello")
    return "ok"


@server.tool
async def test_streaming_elicitation(ctx: Context) -> str:
    "Asks without a request on the stream"
    answer = await ctx.elicit("What is your name?", form("name"), key="user_name")
    return str(answer.action)


@server.tool
async def test_trigger_tool_change(ctx: Context) -> str:
    "Adds and removes a tool"
    server.add_tool(dynamic, name="test_dynamic_tool")
    server.remove_tool("test_dynamic_tool")
    return "ok"


@server.tool
async def test_trigger_prompt_change(ctx: Context) -> str:
    "Adds and removes a prompt"
    server.prompt(name="test_dynamic_prompt")(dynamic)
    server.remove_prompt("test_dynamic_prompt")
    return "ok"


def dynamic() -> str:
    "Comes and goes"
    return "dynamic"


def form(name: str, kind: str = "string") -> dict[str, Any]:
    return {"type": "object", "properties": {name: {"type": kind}}, "required": [name]}


def ask(message: str = "What is your name?", schema: dict[str, Any] | None = None) -> dict[str, Any]:
    params = {"message": message, "requestedSchema": schema or form("name")}
    return {"method": "elicitation/create", "params": params}


def sample(question: str) -> dict[str, Any]:
    message = {"role": "user", "content": {"type": "text", "text": question}}
    return {"method": "sampling/createMessage", "params": {"messages": [message], "maxTokens": 100}}


ROOTS = {"method": "roots/list", "params": {}}


@server.tool
async def test_input_required_result_elicitation(ctx: Context) -> str:
    "One elicitation"
    answer = await ctx.elicit("What is your name?", form("name"), key="user_name")
    return f"Hello, {(answer.data or {}).get('name')}!"


@server.tool
async def test_input_required_result_sampling(ctx: Context) -> str:
    "One sampling"
    answer = await ctx.sample("What is the capital of France?", max_tokens=100, key="capital_question")
    return f"Model said {json.dumps(answer['content'])}"


@server.tool
async def test_input_required_result_list_roots(ctx: Context) -> str:
    "The client's roots"
    return f"Got {len(await ctx.list_roots(key='client_roots'))} roots"


@server.tool(structured_output=False)
def test_input_required_result_request_state(ctx: Context) -> str | InputRequired:
    "State there and back"
    if "confirm" in ctx.input_responses and ctx.request_state == "nonce":
        return "state-ok: confirmed"
    return InputRequired({"confirm": ask("Please confirm", form("ok", "boolean"))}, "nonce")


@server.tool(structured_output=False)
def test_input_required_result_multiple_inputs(ctx: Context) -> str | InputRequired:
    "Three inputs at once"
    if {"user_name", "greeting", "client_roots"} <= set(ctx.input_responses):
        return "All inputs received."
    wanted = {"user_name": ask(), "greeting": sample("Generate a greeting"), "client_roots": ROOTS}
    return InputRequired(wanted, "multi")


@server.tool
async def test_input_required_result_multi_round(ctx: Context) -> str:
    "Two rounds"
    name = await ctx.elicit("Step 1: name?", form("name"), key="step1")
    color = await ctx.elicit("Step 2: favorite color?", form("color"), key="step2")
    return f"{name.data} {color.data}"


@server.tool(structured_output=False)
def test_input_required_result_tampered_state(ctx: Context) -> str | InputRequired:
    "Integrity of the state"
    if ctx.request_state is None:
        return InputRequired({"confirm": ask("Please confirm", form("ok", "boolean"))}, "r1")
    return "state-ok"


@server.tool(structured_output=False)
def test_input_required_result_capabilities(ctx: Context) -> str | InputRequired:
    "Asks only for what was declared"
    wanted = {}
    if "sampling" in ctx.client_capabilities:
        wanted["sample"] = sample("Say hello")
    if "elicitation" in ctx.client_capabilities:
        wanted["ask"] = ask()
    return InputRequired(wanted, "gated")


@server.tool(
    input_schema={
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {
            "address": {
                "$anchor": "addressDef",
                "type": "object",
                "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
            }
        },
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    }
)
def json_schema_2020_12_tool() -> str:
    "Keywords of 2020-12"
    return "ok"


# ---- the tasks extension


@server.tool
def greet(name: str) -> str:
    "Never a task"
    return f"Hello, {name}!"


@server.tool(task="optional")
async def slow_compute(seconds: float, label: str = "") -> str:
    "Sleeps"
    await asyncio.sleep(seconds)
    return f"Computed {label} in {seconds} s"


@server.tool(task="required")
async def failing_job() -> str:
    "Fails as a tool"
    await asyncio.sleep(0.5)
    raise RuntimeError("the job failed")


@server.tool(task="required")
async def protocol_error_job() -> str:
    "Fails as a request"
    await asyncio.sleep(0.1)
    raise MCPError(-32603, "the job broke down")


@server.tool(task="optional")
async def confirm_delete(ctx: Context, filename: str = "file") -> str:
    "Asks in the task"
    answer = await ctx.elicit(f"Delete {filename}?", form("confirm", "boolean"), key="confirm")
    return f"deleted: {answer.action == 'accept' and bool((answer.data or {}).get('confirm'))}"


@server.tool(task="optional")
async def multi_input(ctx: Context) -> str:
    "Asks for two things at once"
    first, second = await asyncio.gather(
        ctx.elicit("Name?", form("name"), key="name"),
        ctx.elicit("Sure?", form("confirm", "boolean"), key="confirm"),
    )
    return f"{first.data} {second.data}"


@server.tool(task="manual")
async def test_tool_with_task(ctx: Context) -> str:
    "Asks first, then becomes a task"
    answer = await ctx.elicit("What is your name?", form("name"), key="user_name")
    await ctx.become_task()
    await asyncio.sleep(0.2)
    return f"done for {(answer.data or {}).get('name')}"


@server.resource("test://static-text", mime_type="text/plain")
def static_text() -> str:
    "Static text"
    return "This is the content of the static text resource."


@server.resource("test://static-binary", mime_type="image/png")
def static_binary() -> bytes:
    "Static binary"
    return PNG


@server.resource("test://template/{id}/data", mime_type="application/json")
def template(id: str) -> str:
    "A family"
    return json.dumps({"id": id, "templateTest": True, "data": f"Data for ID: {id}"})


@server.resource("test://watched-resource")
def watched() -> str:
    "Can be subscribed to"
    return "watched"


@server.prompt
def test_simple_prompt() -> str:
    "Simple"
    return "This is a simple prompt for testing."


@server.prompt
def test_prompt_with_arguments(arg1: str, arg2: str) -> str:
    "Two arguments"
    return f"Prompt with arguments: arg1='{arg1}', arg2='{arg2}'"


@server.prompt
def test_prompt_with_embedded_resource(resourceUri: str) -> list[Message]:
    "Embedded resource"
    resource = EmbeddedResource(resourceUri, "Embedded resource content for testing.", "text/plain")
    return [Message(resource), Message("Please process the embedded resource above.")]


@server.prompt
def test_prompt_with_image() -> list[Message]:
    "Image"
    return [Message(ImageContent(PNG, "image/png")), Message("Please analyze the image above.")]


@server.prompt
async def test_input_required_result_prompt(ctx: Context) -> list[Message]:
    "Needs input"
    await ctx.elicit("What context?", form("context"), key="user_context")
    return [Message("Use the context")]


@server.completion
def complete(ref: dict[str, Any], argument: dict[str, Any], context: Any) -> Completion:
    return Completion(["paris", "park"], total=2, has_more=False)


if __name__ == "__main__":
    if len(sys.argv) > 2 and sys.argv[2] == "asgi":
        import uvicorn

        uvicorn.run(
            server.asgi_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="warning", http="h11"
        )
    else:
        server.run(transport="http", host="127.0.0.1", port=int(sys.argv[1]))
