"""The client of the official conformance suite: gets the server's URL as its last argument."""

import asyncio
import json
import os
import sys
from typing import Any

import fasterapi_core
from fasterapi_mcp import MCPClient, MCPError


async def elicit(params: dict[str, Any]) -> dict[str, Any]:
    properties = params.get("requestedSchema", {}).get("properties", {})
    content = {name: schema["default"] for name, schema in properties.items() if "default" in schema}
    for name, schema in properties.items():
        if name not in content:
            content[name] = {"boolean": True, "integer": 1, "number": 1.5}.get(schema.get("type"), "text")
    return {"action": "accept", "content": content}


def value_of(schema: dict[str, Any]) -> Any:
    if "default" in schema:
        return schema["default"]
    return {"integer": 5, "number": 3, "boolean": True, "object": {}, "array": []}.get(
        str(schema.get("type")), "text"
    )


async def main(url: str) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    calls = context.get("toolCalls") if isinstance(context, dict) else None
    async with MCPClient(url, handlers={"elicitation/create": elicit}) as client:
        tools = await client.list_tools()
        if "prompts" in client.server_capabilities:
            for prompt in await client.list_prompts():
                names = [a["name"] for a in prompt.get("arguments") or []]
                await client.get_prompt(prompt["name"], dict.fromkeys(names, "text"))
        if "resources" in client.server_capabilities:
            for resource in await client.list_resources():
                await client.read_resource(resource["uri"])
        for call in calls or []:
            await attempt(client, call["name"], call.get("arguments") or {})
        if calls:
            return
        for tool in tools:
            schema = tool.get("inputSchema") or {}
            properties = schema.get("properties") or {}
            if "schema" in properties:  # wants to see the schema of another tool as we have it
                other = next((t for t in tools if t is not tool), tool)
                await attempt(client, tool["name"], {"schema": other["inputSchema"]})
                continue
            await attempt(client, tool["name"], {name: value_of(child) for name, child in properties.items()})


async def attempt(client: MCPClient, name: str, arguments: dict[str, Any]) -> None:
    try:
        print(name, await client.call_tool(name, arguments))
    except MCPError as error:
        print(name, error)


if __name__ == "__main__":
    fasterapi_core.run(asyncio.wait_for(main(sys.argv[-1]), 25))
