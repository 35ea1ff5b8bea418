"""Context: what a tool, resource or prompt may ask about its call and send while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fasterapi_core import json_dumps

from ._errors import MISSING_CLIENT_CAPABILITY, InvalidParams, MCPError, ToolError
from ._types import ElicitResult

if TYPE_CHECKING:
    from ._mcp import Call
    from ._server import MCPServer

LEVELS = {
    name: number
    for number, name in enumerate(
        ("debug", "info", "notice", "warning", "error", "critical", "alert", "emergency")
    )
}


class InputNeeded(BaseException):
    """Ends a handler that asked for input which the client has not given yet (2026-07-28)."""

    def __init__(self, key: str, request: dict[str, Any]) -> None:
        super().__init__(key)
        self.key = key
        self.request = request


class Context:
    """Handed to a function that has a parameter annotated with this type.

    Everything the context sends belongs to this one call: it reaches the client before the answer, and stops
    with it.
    """

    def __init__(self, server: MCPServer, call: Call, params: Mapping[str, Any]) -> None:
        self._server = server
        self._call = call
        self._params = params
        self._loop = asyncio.get_running_loop()
        self._progress = float("-inf")
        self._asked = 0
        self._state: str | None = None
        self._answers: dict[str, Any] = {}

    # ---------------------------------------------------------------- about the call
    @property
    def server(self) -> MCPServer:
        """The server that runs the call."""
        return self._server

    @property
    def request_id(self) -> int | str | None:
        """JSON-RPC id of the request."""
        return self._call.id

    @property
    def protocol_version(self) -> str:
        """Protocol revision of this call, e.g. "2026-07-28"."""
        return self._call.version

    @property
    def meta(self) -> Mapping[str, Any]:
        """The request's ``_meta``."""
        meta = self._params.get("_meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def client_capabilities(self) -> Mapping[str, Any]:
        """What the client declared, with this request or when it initialized."""
        if self._call.modern:
            found = self.meta.get("io.modelcontextprotocol/clientCapabilities")
        else:
            found = self._call.peer.state.get("capabilities")
        return found if isinstance(found, dict) else {}

    @property
    def client_info(self) -> Mapping[str, Any]:
        """Name and version of the client, as far as it said them."""
        if self._call.modern:
            found = self.meta.get("io.modelcontextprotocol/clientInfo")
        else:
            found = self._call.peer.state.get("client_info")
        return found if isinstance(found, dict) else {}

    @property
    def session_id(self) -> str | None:
        """Mcp-Session-Id of a legacy HTTP session; None everywhere else."""
        return None if self._call.modern else (self._call.peer.session_id or None)

    def header(self, name: str) -> str | None:
        """Header of the HTTP request that carried the call; None over stdio."""
        return self._call.header(name.lower())

    @property
    def cancelled(self) -> bool:
        """The client has cancelled the call. Long loops in worker threads should look."""
        return self._call.cancelled

    # ---------------------------------------------------------------- to the client
    def _notify(self, method: str, params: dict[str, Any]) -> None:
        data = json_dumps(params, default=str)
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            self._call.notify(method, data)
        else:
            self._loop.call_soon_threadsafe(self._call.notify, method, data)

    async def report_progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Tells the client how far the call is; does nothing unless it asked for progress.

        Args:
            progress: Must grow from call to call; a value that does not is not sent.
            total: The value at which the work is done, if known.
            message: One line for people.
        """
        token = self._call.progress_token
        if token is None or not progress > self._progress:
            return
        self._progress = progress
        params: dict[str, Any] = {"progressToken": token, "progress": progress}
        if total is not None:
            params["total"] = total
        if message is not None:
            params["message"] = message
        self._notify("notifications/progress", params)

    async def log(self, level: str, data: Any, *, logger_name: str | None = None) -> None:
        """Sends a log message if the client wants messages of that level.

        Args:
            level: debug, info, notice, warning, error, critical, alert or emergency.
            data: Text, or anything JSON can express.
            logger_name: Name shown beside it.
        """
        number = LEVELS[level]
        if self._call.modern:
            wanted = self._call.log_level
            if not wanted or number < LEVELS[wanted]:
                return
        elif number < LEVELS.get(self._call.peer.state.get("log_level", "debug"), 0):
            return
        params: dict[str, Any] = {"level": level, "data": data}
        if logger_name is not None:
            params["logger"] = logger_name
        self._notify("notifications/message", params)

    async def debug(self, data: Any, *, logger_name: str | None = None) -> None:
        """`log` at level debug."""
        await self.log("debug", data, logger_name=logger_name)

    async def info(self, data: Any, *, logger_name: str | None = None) -> None:
        """`log` at level info."""
        await self.log("info", data, logger_name=logger_name)

    async def warning(self, data: Any, *, logger_name: str | None = None) -> None:
        """`log` at level warning."""
        await self.log("warning", data, logger_name=logger_name)

    async def error(self, data: Any, *, logger_name: str | None = None) -> None:
        """`log` at level error."""
        await self.log("error", data, logger_name=logger_name)

    async def read_resource(self, uri: str) -> list[dict[str, Any]]:
        """Contents of a resource of this server. Raises `MCPError` when there is none."""
        return await self._server.read_resource(uri)

    async def notify_tools_changed(self) -> None:
        """Tells listening clients that the list of tools has changed."""
        self._server.notify_tools_changed()

    async def notify_prompts_changed(self) -> None:
        """Tells listening clients that the list of prompts has changed."""
        self._server.notify_prompts_changed()

    async def notify_resources_changed(self) -> None:
        """Tells listening clients that the list of resources has changed."""
        self._server.notify_resources_changed()

    async def notify_resource_updated(self, uri: str) -> None:
        """Tells clients that subscribed to ``uri`` that it has changed."""
        self._server.notify_resource_updated(uri)

    async def close_sse_stream(self) -> bool:
        """Ends the HTTP stream of this call; the client fetches the answer when it comes back (2025-11-25).

        Returns False where that is not possible, and nothing happens.
        """
        return self._call.close_stream()

    async def become_task(self) -> bool:
        """In a tool with ``task="manual"``: the client gets a task now, and the tool goes on behind it.

        Returns False, and nothing happens, when the client does not know tasks.
        """
        return False

    # ---------------------------------------------------------------- asking the client
    @property
    def input_responses(self) -> Mapping[str, Any]:
        """Answers that came with a retried call (2026-07-28), by key."""
        found = self._params.get("inputResponses")
        return found if isinstance(found, dict) else {}

    @property
    def request_state(self) -> str | None:
        """The ``request_state`` of our `InputRequired`, checked; None on the first round."""
        return self._state

    async def elicit(self, message: str, schema: Any, *, key: str | None = None) -> ElicitResult:
        """Asks the user to fill in a form.

        In the legacy era the call waits for the answer. In the modern era (2026-07-28) the call ends here and
        the client repeats it with the answer: code before this line then runs again, so keep it free of
        effects, and ask in the same order.

        Args:
            message: What is asked, for people.
            schema: A pydantic model with flat fields, or a JSON schema of a flat object.
            key: Name of the answer on the modern wire; numbered when left out.

        Raises:
            MCPError: the client cannot elicit (-32021), or its answer is malformed (-32602).
        """
        wire = schema if isinstance(schema, Mapping) else _form_schema(schema)
        answer = await self._ask(
            key, "elicitation/create", {"message": message, "requestedSchema": wire}, "elicitation"
        )
        return self._elicited(answer, schema)

    async def elicit_url(self, message: str, url: str, *, key: str | None = None) -> ElicitResult:
        """Asks the user to open a URL (payments, sign-in). "accept" is consent only, not completion."""
        params: dict[str, Any] = {"mode": "url", "message": message, "url": url}
        if not self._call.modern:
            import uuid

            params["elicitationId"] = str(uuid.uuid4())
        answer = await self._ask(key, "elicitation/create", params, "elicitation")
        return self._elicited(answer, {})

    async def sample(
        self,
        messages: str | list[dict[str, Any]],
        *,
        max_tokens: int = 1024,
        key: str | None = None,
        **more: Any,
    ) -> dict[str, Any]:
        """Asks the client's model to complete ``messages``; returns the wire form of the result.

        Modern era: as `elicit`, the call is repeated with the answer.
        """
        if isinstance(messages, str):
            messages = [{"role": "user", "content": {"type": "text", "text": messages}}]
        params = {"messages": messages, "maxTokens": max_tokens, **more}
        answer = await self._ask(key, "sampling/createMessage", params, "sampling")
        if not isinstance(answer, dict) or "content" not in answer:
            raise InvalidParams("The answer to sampling/createMessage is malformed")
        return answer

    async def list_roots(self, *, key: str | None = None) -> list[dict[str, Any]]:
        """The client's roots. Modern era: as `elicit`, the call is repeated with the answer."""
        answer = await self._ask(key, "roots/list", {}, "roots")
        if not isinstance(answer, dict) or not isinstance(answer.get("roots"), list):
            raise InvalidParams("The answer to roots/list is malformed")
        roots: list[dict[str, Any]] = answer["roots"]
        return roots

    def _elicited(self, answer: Any, schema: Any) -> ElicitResult:
        try:
            return _elicit_result(answer, schema)
        except InvalidParams as error:
            if self._call.modern:
                raise
            # The client's answer is not part of its tools/call: the tool has failed, not the request.
            raise ToolError(str(error)) from error

    async def _ask(self, key: str | None, method: str, params: dict[str, Any], capability: str) -> Any:
        if capability not in self.client_capabilities:
            raise MCPError(
                MISSING_CLIENT_CAPABILITY if self._call.modern else -32600,
                f"The client does not support {capability}",
                {"requiredCapabilities": {capability: {}}},
            )
        if not self._call.modern:
            result, error = await self._call.request(method, json_dumps(params))
            if error is not None:
                raise MCPError(
                    int(error.get("code", -32603)), str(error.get("message", "")), error.get("data")
                )
            return result
        self._asked += 1
        name = key or f"{method.partition('/')[0]}_{self._asked}"
        if name in self.input_responses:
            self._answers[name] = self.input_responses[name]
        if name not in self._answers:
            raise InputNeeded(name, {"method": method, "params": params})
        return self._answers[name]


def _form_schema(model: Any) -> dict[str, Any]:
    schema: dict[str, Any] = model.model_json_schema(by_alias=True)
    wire = {"type": "object", "properties": schema.get("properties", {})}
    if schema.get("required"):
        wire["required"] = schema["required"]
    return wire


def _elicit_result(answer: Any, schema: Any) -> ElicitResult:
    action = answer.get("action") if isinstance(answer, dict) else None
    if action not in ("accept", "decline", "cancel"):
        raise InvalidParams("The answer to elicitation/create is malformed: action is missing or unknown")
    if action != "accept":
        return ElicitResult(action)
    content = answer.get("content") or {}
    if isinstance(schema, Mapping):
        missing = [name for name in schema.get("required", ()) if name not in content]
        if missing:
            raise InvalidParams(f"The answer to elicitation/create lacks {', '.join(missing)}")
        return ElicitResult(action, content)
    from pydantic import ValidationError

    try:
        return ElicitResult(action, schema.model_validate(content))
    except ValidationError as error:
        raise InvalidParams(
            f"The answer to elicitation/create is malformed: {error.error_count()} errors"
        ) from error
