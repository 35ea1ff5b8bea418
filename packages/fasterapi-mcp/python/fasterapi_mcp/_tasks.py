"""The tasks extension (io.modelcontextprotocol/tasks): calls that go on after their answer."""

from __future__ import annotations

import asyncio
import datetime
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from fasterapi_core import json_loads

from ._context import Context, InputNeeded
from ._errors import INTERNAL_ERROR, MISSING_CLIENT_CAPABILITY, InvalidParams, MCPError
from ._types import InputRequired, _without_none

if TYPE_CHECKING:
    from ._features import Tool
    from ._mcp import Call
    from ._server import MCPServer

EXTENSION = "io.modelcontextprotocol/tasks"
METHODS = ("tasks/get", "tasks/update", "tasks/cancel")
_FINAL = ("completed", "failed", "cancelled")


class Task:
    """One call that became a task. Whoever knows its random id may ask for it."""

    def __init__(self, ttl_ms: int, poll_ms: int) -> None:
        self.id = secrets.token_urlsafe(24)
        self.status = "working"
        self.message: str | None = None
        self.created = self.updated = datetime.datetime.now(datetime.timezone.utc)
        self.ttl_ms = ttl_ms
        self.poll_ms = poll_ms
        self.result: Any = None
        self.error: dict[str, Any] | None = None
        self.questions: dict[str, tuple[dict[str, Any], asyncio.Future[Any]]] = {}
        self.runner: asyncio.Task[Any] | None = None

    def wire(self, *, detailed: bool) -> dict[str, Any]:
        """The task as JSON-ready data; ``detailed`` adds what tasks/get tells beyond tools/call."""
        found: dict[str, Any] = {
            "taskId": self.id,
            "status": self.status,
            "createdAt": self.created.isoformat().replace("+00:00", "Z"),
            "lastUpdatedAt": self.updated.isoformat().replace("+00:00", "Z"),
            "ttlMs": self.ttl_ms,
            "pollIntervalMs": self.poll_ms,
        }
        if self.message is not None:
            found["statusMessage"] = self.message
        if detailed:
            if self.status == "completed":
                found["result"] = self.result
            elif self.status == "failed":
                found["error"] = self.error
            elif self.status == "input_required":
                found["inputRequests"] = {key: request for key, (request, _) in self.questions.items()}
        return found


class TaskContext(Context):
    """The context of a call that may become a task, or is one."""

    def __init__(self, tasks: Tasks, call: Call, params: Mapping[str, Any]) -> None:
        super().__init__(tasks.server, call, params)
        self._tasks = tasks
        self.task: Task | None = None
        self.became: asyncio.Future[Task] = self._loop.create_future()

    async def become_task(self) -> bool:
        """Answers the call with a task now and goes on in the background."""
        if self.task is None:
            self.task = self._tasks.create()
            self.became.set_result(self.task)
        return True

    async def report_progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """Before the task: as in `Context`. In the task the message becomes its status message."""
        if self.task is None:
            await super().report_progress(progress, total, message)
        elif message is not None:
            self.task.message = message
            self._tasks.touch(self.task)

    async def _ask(self, key: str | None, method: str, params: dict[str, Any], capability: str) -> Any:
        if self.task is None:
            return await super()._ask(key, method, params, capability)
        if capability not in self.client_capabilities:
            raise MCPError(MISSING_CLIENT_CAPABILITY, f"The client does not support {capability}")
        self._asked += 1
        name = key or f"{method.partition('/')[0]}_{self._asked}"
        answer: asyncio.Future[Any] = self._loop.create_future()
        self.task.questions[name] = ({"method": method, "params": params}, answer)
        self._tasks.touch(self.task, "input_required")
        return await answer


class Tasks:
    """The tasks of one server, in this process.

    A finished task can be asked for until its time to live is over; then it is forgotten.
    """

    def __init__(
        self, server: MCPServer, *, ttl_ms: int = 3_600_000, poll_ms: int = 500, limit: int = 10_000
    ) -> None:
        self.server = server
        self._ttl_ms = ttl_ms
        self._poll_ms = poll_ms
        self._limit = limit
        self._tasks: dict[str, Task] = {}

    @staticmethod
    def declared(context: Context) -> bool:
        """Whether the client of this call knows tasks."""
        extensions = context.client_capabilities.get("extensions")
        return isinstance(extensions, dict) and EXTENSION in extensions

    def require(self, call: Call, params: dict[str, Any]) -> None:
        """Raises the error of the extension unless the client declared it."""
        if not self.declared(Context(self.server, call, params)):
            raise MCPError(
                MISSING_CLIENT_CAPABILITY,
                "This needs the tasks extension",
                {"requiredCapabilities": {"extensions": {EXTENSION: {}}}},
            )

    def create(self) -> Task:
        """A new task. Raises `MCPError` when there are too many."""
        if len(self._tasks) >= self._limit:
            now = datetime.datetime.now(datetime.timezone.utc)
            for task in list(self._tasks.values()):
                if task.status in _FINAL and now - task.updated > datetime.timedelta(
                    milliseconds=task.ttl_ms
                ):
                    del self._tasks[task.id]
            if len(self._tasks) >= self._limit:
                raise MCPError(INTERNAL_ERROR, "Too many tasks")
        task = Task(self._ttl_ms, self._poll_ms)
        self._tasks[task.id] = task
        return task

    def touch(self, task: Task, status: str | None = None) -> None:
        """Notes a change and tells who listens. A final status stays."""
        if task.status in _FINAL:
            return
        if status is not None:
            task.status = status
        task.updated = datetime.datetime.now(datetime.timezone.utc)
        self.server._task_changed(task.id, task.wire(detailed=True))

    async def run(self, call: Call, params: dict[str, Any], tool: Tool, keywords: dict[str, Any]) -> Any:
        """Runs a tool as a task, or until it becomes one: bytes when the call is answered, else its value."""
        context = TaskContext(self, call, params)
        self.server._open_state(context, call, params)
        if tool.task != "manual":
            await context.become_task()
        runner = asyncio.ensure_future(self._work(context, tool, keywords))
        if context.task is not None:
            context.task.runner = runner
            return self._created(context.task)
        try:
            await asyncio.wait({runner, context.became}, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            runner.cancel()
            raise
        if context.task is not None:
            context.task.runner = runner
            return self._created(context.task)
        try:
            value = runner.result()
        except InputNeeded as needed:
            value = InputRequired({needed.key: needed.request}, "")
        if isinstance(value, InputRequired):
            return self.server._input_required(context, params, call, value)
        return self.server._tool_result(tool, value, True)

    def _created(self, task: Task) -> bytes:
        return self.server._finish_as("task", task.wire(detailed=False))

    async def _work(self, context: TaskContext, tool: Tool, keywords: dict[str, Any]) -> Any:
        try:
            value = await tool.run(keywords, context, self.server._in_thread)
            if context.task is None:
                return value
            context.task.result = json_loads(tool.result_json(value) + b"}")
            self.touch(context.task, "completed")
        except BaseException as error:
            task = context.task
            if task is None:
                raise
            if isinstance(error, MCPError):
                task.error = _without_none(
                    {"code": error.rpc_code, "message": error.message, "data": error.data}
                )
                self.touch(task, "failed")
            elif isinstance(error, asyncio.CancelledError):
                self.touch(task, "cancelled")
            elif isinstance(error, Exception):
                task.result = json_loads(self.server._tool_failed(tool.name, error, False))
                self.touch(task, "completed")
            else:
                raise
        return None

    # --------------------------------------------------------------------------------- methods
    def _find(self, call: Call, params: dict[str, Any]) -> Task:
        self.require(call, params)
        task = self._tasks.get(params.get("taskId", ""))
        if task is None:
            raise InvalidParams("Unknown task")
        return task

    async def get(self, call: Call, params: dict[str, Any]) -> bytes:
        """tasks/get"""
        return self.server._finish(self._find(call, params).wire(detailed=True))

    async def update(self, call: Call, params: dict[str, Any]) -> bytes:
        """tasks/update"""
        task = self._find(call, params)
        answers = params.get("inputResponses")
        if not isinstance(answers, dict):
            raise InvalidParams("inputResponses is missing")
        for key, answer in answers.items():
            if key in task.questions:
                self.server._check_answer(answer)
        for key, answer in answers.items():
            if key in task.questions:
                _, future = task.questions.pop(key)
                if not future.done():
                    future.set_result(answer)
        if task.status == "input_required":
            self.touch(task, "input_required" if task.questions else "working")
        return self.server._finish({})

    async def cancel(self, call: Call, params: dict[str, Any]) -> bytes:
        """tasks/cancel"""
        task = self._find(call, params)
        self.touch(task, "cancelled")
        if task.runner is not None:
            task.runner.cancel()
        return self.server._finish({})

    def close(self) -> None:
        """Cancels what still runs."""
        for task in self._tasks.values():
            if task.runner is not None and not task.runner.done():
                task.runner.cancel()
