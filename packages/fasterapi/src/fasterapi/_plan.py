"""The fast lane: one flat Python function per route, generated at start-up.

A route whose parameters the server can decode natively gets a function that takes the decoded values as
positional arguments, calls each dependency once, in order, and then the handler. What the resolver decides
on every request (caching, sync or async, thread or loop) is decided here once. A handler without
dependencies is called directly: there is no function of ours at all.
"""

from __future__ import annotations

import dataclasses
import inspect
import types
from collections.abc import Callable, Hashable
from typing import Any, Literal, get_args, get_origin

import fasterapi_http as _http

from . import params
from ._annotations import without_none
from ._calls import runs_inline, uses_blocking_pool
from ._cleanup import CleanupStack
from ._dependant import Dependant
from ._fields import Field, form_model, parameter_model
from ._json_mode import body_validator
from ._native_request import NativeRequest
from ._options import chosen
from ._resolve import injected_response
from ._route import APIRoute, body_allowed
from .background import BackgroundTasks
from .concurrency import run_in_threadpool
from .responses import HTMLResponse, PlainTextResponse
from .security.base import SecurityScopes

Mode = Literal["async", "inline", "thread"]
Arg = tuple[str, str | None, Any, bool, Any]

_NATIVE_TYPES: dict[Any, str] = {str: "str", int: "int", float: "float", bool: "bool"}
_IMMUTABLE = (str, bytes, int, float, bool, type(None), tuple, frozenset)
_FRESH = (list, dict, set)


class NotNative(Exception):
    """The route needs the complete resolver; the message says why."""


class UseSlowLane(Exception):
    """Raised by a plan while overrides are in force: the exception handler runs the complete resolver
    instead.
    """

    def __init__(self, route: APIRoute) -> None:
        super().__init__(route.path)
        self.route = route


class Missing:
    """Stands for an argument that was not sent and whose default must be made anew."""


@dataclasses.dataclass(slots=True)
class Plan:
    """What ``Server.add_route`` takes, and the switch between the generated code and the slow lane."""

    route: APIRoute
    endpoint: Callable[..., Any]
    mode: Mode
    args: list[Arg]
    response: Any
    source: str = ""
    calls: frozenset[Any] = frozenset()
    _codes: tuple[types.CodeType, types.CodeType] | None = None

    def apply_overrides(self, overridden: set[Any]) -> None:
        """Swap the code of the generated function: a request pays nothing for the possibility of
        overrides.
        """
        if self._codes is not None:
            fast, slow = self._codes
            self.endpoint.__code__ = slow if overridden & self.calls else fast


def compile_route(route: APIRoute) -> Plan:
    """Build the plan of a route, or raise NotNative."""
    if route.custom_handler:
        raise NotNative("the route class has a handler of its own")
    if route.stream is not None:
        raise NotNative("the handler yields")
    if route.seed:
        return _seed_plan(route)
    return _Compiler(route).compile()


def response_spec(route: APIRoute) -> tuple[Any, bool]:
    """Return the ResponseSpec, and whether the server's encoding gives the whole response."""
    status = route.status_code or 200
    response_class = chosen(route.response_class)
    if not body_allowed(route.status_code):
        return _http.ResponseSpec(
            status=status, media_type=response_class.media_type or "", encode=_no_body
        ), True
    if route.plain_json:
        return _http.ResponseSpec(status=status, encode=route.serializer.encode), True
    if response_class in (PlainTextResponse, HTMLResponse) and route.response_field is None:
        media_type = f"{response_class.media_type}; charset=utf-8"
        return _http.ResponseSpec(status=status, media_type=media_type, encode="text"), True
    return _http.ResponseSpec(status=status), False


def _no_body(value: Any) -> bytes:
    return b""


def _seed_plan(route: APIRoute) -> Plan:
    if route.dependant.dependencies:
        raise NotNative("a (req, res) handler with dependencies")
    spec, whole = response_spec(route)
    if not whole:
        raise NotNative("the response class renders itself")
    count = len(inspect.signature(route.endpoint).parameters)
    args: list[Arg] = [("request", None, None, True, None), ("response", None, None, True, None)]
    mode: Mode = "inline"
    if route.dependant.kind == "async":
        mode = "async"
    elif uses_blocking_pool(route.endpoint) and not route.inline:
        mode = "thread"
    return Plan(route, route.endpoint, mode, args[:count], spec)


class _Compiler:
    """Writes the function of one route."""

    def __init__(self, route: APIRoute) -> None:
        self.route = route
        self.dependant = route.dependant
        self.args: list[Arg] = []
        self.arg_names: list[str] = []
        self.prelude: list[str] = []
        self.lines: list[str] = []
        self.names: dict[str, Any] = {}
        self.fields: dict[int, str] = {}
        self.values: dict[Hashable, str] = {}
        self.calls: set[Any] = set()
        self.awaits = False
        self.threads = False
        self.generators = False
        self.background = False
        self.request_arg: str | None = None
        self.injected_arg: str | None = None
        self.counter = 0

    # -- names

    def constant(self, value: Any, prefix: str) -> str:
        """Put a value into the function's globals."""
        self.counter += 1
        name = f"{prefix}_{self.counter}"
        self.names[name] = value
        return name

    def local(self, prefix: str) -> str:
        self.counter += 1
        return f"{prefix}{self.counter}"

    def argument(self, arg: Arg, prefix: str) -> str:
        """Add a positional argument; one that several dependencies ask for alike is decoded once."""
        if isinstance(arg[2], str) and isinstance(arg[4], _IMMUTABLE):
            for known, declared in zip(self.arg_names, self.args, strict=True):
                if declared == arg and type(declared[4]) is type(arg[4]):
                    return known
        name = self.local(prefix)
        self.args.append(arg)
        self.arg_names.append(name)
        return name

    # -- fields

    def field(self, place: str, field: Field) -> str:
        """Return the expression of a parameter's value."""
        known = self.fields.get(id(field))
        if known is None:
            known = self.fields[id(field)] = self._declare(place, field)
        return known

    def _declare(self, place: str, field: Field) -> str:
        if parameter_model(field) is not None:
            raise NotNative(f"parameter model {field.name!r}")
        names = field.wire_names()
        if len(names) != 1:
            raise NotNative(f"several names for {field.name!r}")
        if field.info.validate_default:
            raise NotNative(f"validated default of {field.name!r}")
        source, convert = place, native_convert(field)
        if field.sequence and not field.is_json:
            source, convert = "query_list", _list_convert(place, field)
        if place == "path":
            self._check_path_convertor(field)
        if place == "cookie" and convert == "str":
            convert = _plain_cookie
        return self._with_default(source, names[0][1], convert, field)

    def _check_path_convertor(self, field: Field) -> None:
        convertor = self.route.param_convertors.get(field.input_alias)
        if convertor is None:
            raise NotNative(f"path parameter {field.name!r} is not in the path")
        if convertor.read is not str and convertor.read is not field.info.annotation:
            raise NotNative(f"path parameter {field.name!r} is converted twice")

    def _with_default(self, source: str, wire: str, convert: Any, field: Field) -> str:
        wire = wire.lower() if source == "header" else wire
        if field.required:
            return self.argument((source, wire, convert, True, None), "a")
        factory = field.info.default_factory
        default = field.info.default
        if factory in _FRESH:
            return self.argument((source, wire, convert, False, factory()), "a")
        if factory is None and isinstance(default, _IMMUTABLE):
            return self.argument((source, wire, convert, False, default), "a")
        if factory is None and type(default) in _FRESH and not default:
            return self.argument((source, wire, convert, False, default), "a")
        name = self.argument((source, wire, convert, False, Missing), "a")
        missing = self.constant(Missing, "missing")
        make = self.constant(field.default, "default")
        self.prelude.append(f"if {name} is {missing}: {name} = {make}()")
        return name

    def _body(self) -> dict[int, str]:
        """Declare the body argument; return the expression of each body member."""
        fields = self.dependant.all_body_fields()
        if not fields:
            return {}
        if any(isinstance(field.info, params.Form) or form_model(field) for field in fields):
            raise NotNative("a form")
        if chosen(self.route.options.strict_content_type) is False:
            raise NotNative("any content type counts as JSON")
        if not self.route.embed:
            if len(fields) != 1:
                raise NotNative("one body for several parameters")
            field = fields[0]
            if field.info.validate_default:
                raise NotNative("validated default of the body")
            name = self._with_default("body_json", "body", body_validator(field.adapter), field)
            return {id(field): name}
        if any(not field.required or len(field.wire_names()) != 1 for field in fields):
            raise NotNative("optional members of the body")
        body = self.route.body_field
        assert body is not None
        whole = self.argument(("body_json", "body", body_validator(body.adapter), True, None), "b")
        return {id(field): f"{whole}.{field.name}" for field in fields}

    # -- special objects

    def special(self, kind: str, dependant: Dependant) -> str | None:
        if kind in ("request", "connection"):
            return self._request()
        if kind == "response":
            return self._injected()
        if kind == "background":
            self.background = True
            return "tasks"
        if kind == "scopes":
            self.names["SecurityScopes"] = SecurityScopes
            return f"SecurityScopes({self.constant(dependant.scopes, 'scopes')})"
        raise NotNative("a WebSocket parameter in an HTTP route")

    def _request(self) -> str:
        if self.request_arg is None:
            self.names["NativeRequest"] = NativeRequest
            native = self.argument(("request", None, None, True, None), "r")
            self.request_arg = "request"
            self.prelude.append(f"request = NativeRequest({native})")
        return self.request_arg

    def _injected(self) -> str:
        if self.injected_arg is None:
            if self.own_response:
                self.names["injected_response"] = injected_response
                self.prelude.append("injected = injected_response()")
                self.injected_arg = "injected"
            else:
                self.injected_arg = self.argument(("response", None, None, True, None), "s")
        return self.injected_arg

    # -- the function

    def compile(self) -> Plan:
        spec, whole = response_spec(self.route)
        everything = list(self.dependant.walk())
        self.generators = any(one.kind in ("generator", "async_generator") for one in everything[1:])
        if any(one.lifetime == "function" for one in everything[1:]):
            raise NotNative("a dependency with function scope")
        if any(one.max_concurrency is not None for one in everything[1:]):
            raise NotNative("a dependency with limited concurrency")
        # With cleanup to run, or with a response class of its own, the response is built here and not by the
        # server.
        self.own_response = self.generators or not whole
        self.bodies = self._body()
        self.inline_endpoint = self.dependant.kind == "async" or runs_inline(
            self.route.endpoint, self.route.inline
        )
        # One trip to the pool serves sync dependencies and handler alike, unless something has to be awaited.
        self.whole_in_thread = (
            not self.inline_endpoint and not self.generators and all(one.kind == "sync" for one in everything)
        )
        keywords = self._arguments(self.dependant)
        direct = self._direct(keywords)
        if direct is not None:
            return Plan(self.route, self.route.endpoint, direct, self.args, spec)
        return self._generate(keywords, spec)

    def _direct(self, keywords: dict[str, str]) -> Mode | None:
        """Return the mode in which the server may call the handler itself, with the arguments as they
        come.
        """
        if self.lines or self.prelude or self.own_response or self.background:
            return None
        try:
            parameters = list(inspect.signature(self.route.endpoint).parameters.values())
        except (TypeError, ValueError):
            return None
        if any(
            parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
            for parameter in parameters
        ):
            return None
        wanted = [keywords.get(parameter.name) for parameter in parameters]
        if None in wanted or sorted(map(str, wanted)) != sorted(self.arg_names):
            return None
        self.args = [self.args[self.arg_names.index(str(name))] for name in wanted]
        if self.dependant.kind == "async":
            return "async"
        return "inline" if self.inline_endpoint else "thread"

    def _arguments(self, dependant: Dependant) -> dict[str, str]:
        """Emit the calls of the dependencies; return the keyword expressions of ``dependant``'s own call."""
        keywords: dict[str, str] = {}
        for sub in dependant.dependencies:
            value = self._dependency(sub)
            if sub.name is not None:
                keywords[sub.name] = value
        for place, fields in dependant.fields.items():
            for field in fields:
                keywords[field.name] = self.field(place, field)
        for field in dependant.body:
            keywords[field.name] = self.bodies[id(field)]
        for name, kind in dependant.special.items():
            expression = self.special(kind, dependant)
            if expression is not None:
                keywords[name] = expression
        return keywords

    def _dependency(self, dependant: Dependant) -> str:
        key = dependant.cache_key()
        known = self.values.get(key)
        if known is not None and dependant.use_cache:
            # Its own dependencies are cached alike, so nothing below needs a second call either.
            return known
        keywords = self._arguments(dependant)
        self.calls.add(_identity(dependant.call))
        call = self.constant(dependant.call, "dep")
        value = self.local("d")
        inline = runs_inline(dependant.call, dependant.inline or self.route.inline)
        arguments = _call_arguments(dependant, keywords)
        if dependant.kind == "async":
            self.awaits = True
            self.lines.append(f"{value} = await {call}({arguments})")
        elif dependant.kind in ("generator", "async_generator"):
            self.awaits = True
            is_async = dependant.kind == "async_generator"
            if is_async or inline:
                generator = self.local("g")
                step = f"await anext({generator})" if is_async else f"next({generator})"
                self.lines += [
                    f"{generator} = {call}({arguments})",
                    f"{value} = {step}",
                    f"stack.entered({generator}, {is_async}, {inline and not is_async})",
                ]
            else:
                self.lines.append(f"{value} = await stack.enter({call}({arguments}), False, False)")
        elif inline or self.whole_in_thread:
            self.lines.append(f"{value} = {call}({arguments})")
        else:
            self.awaits = self.threads = True
            self.lines.append(
                f"{value} = await run_in_threadpool({call}{', ' if arguments else ''}{arguments})"
            )
        self.values.setdefault(key, value)
        return value

    def _generate(self, keywords: dict[str, str], spec: Any) -> Plan:
        endpoint = self.constant(self.route.endpoint, "endpoint")
        arguments = _call_arguments(self.dependant, keywords)
        in_thread = not self.inline_endpoint and (self.awaits or self.own_response)
        if self.dependant.kind == "async":
            self.awaits = True
            call = f"await {endpoint}({arguments})"
        elif in_thread:
            self.awaits = self.threads = True
            call = f"await run_in_threadpool({endpoint}{', ' if arguments else ''}{arguments})"
        else:
            call = f"{endpoint}({arguments})"
        injected = self._injected() if self.background else self.injected_arg
        body = [*self.prelude]
        if self.background:
            self.names["BackgroundTasks"] = BackgroundTasks
            body.append("tasks = BackgroundTasks()")
        body += self._calls_and_result(call, injected)
        mode: Mode = "async" if self.awaits else ("inline" if self.inline_endpoint else "thread")
        if self.calls:
            self.names.update(UseSlowLane=UseSlowLane, slow_route=self.route)
        function, source = self._compile_source(body)
        plan = Plan(self.route, function, mode, self.args, spec, source, frozenset(self.calls))
        if self.calls:
            plan._codes = (function.__code__, self._slow_code())
        return plan

    def _calls_and_result(self, call: str, injected: str | None) -> list[str]:
        tasks = "tasks" if self.background else "None"
        if self.threads:
            self.names["run_in_threadpool"] = run_in_threadpool
        if self.generators:
            self.names.update(CleanupStack=CleanupStack, hand_over=hand_over)
            plain = self.route.plain_json and injected is None and not self.background
            if plain and body_allowed(self.route.status_code):
                result = f"{self.constant(_plain_responder(self.route), 'respond')}({call})"
            else:
                respond = self.constant(self.route.make_response, "respond")
                result = f"{respond}({call}, {injected}, {tasks})"
            return [
                "stack = CleanupStack()",
                "try:",
                *(f"    {line}" for line in self.lines),
                f"    result = {result}",
                "except BaseException as exc:",
                "    error = await stack.unwind(exc)",
                "    if error is exc: raise",
                "    raise error from exc",
                "return hand_over(result, stack)",
            ]
        if self.own_response:
            respond = self.constant(self.route.make_response, "respond")
            return [*self.lines, f"return {respond}({call}, {injected}, {tasks})"]
        if self.background:
            self.names["attach_tasks"] = attach_tasks
            return [*self.lines, f"return attach_tasks({call}, {injected}, tasks)"]
        return [*self.lines, f"return {call}"]

    def _compile_source(self, body: list[str]) -> tuple[types.FunctionType, str]:
        keyword = "async def" if self.awaits else "def"
        source = f"{keyword} plan({', '.join(self.arg_names)}):\n" + "".join(f"    {line}\n" for line in body)
        return self._function(source), source

    def _function(self, source: str) -> types.FunctionType:
        namespace = dict(self.names)
        # The source is written above from names of our own; no text of the user's gets into it.
        exec(compile(source, f"<plan of {self.route.path}>", "exec"), namespace)
        function = namespace["plan"]
        assert isinstance(function, types.FunctionType)
        return function

    def _slow_code(self) -> types.CodeType:
        """Return code with the same signature that hands the request to the complete resolver.

        Its two constants ride along in the function's globals, which both codes share.
        """
        keyword = "async def" if self.awaits else "def"
        source = f"{keyword} plan({', '.join(self.arg_names)}):\n    raise UseSlowLane(slow_route)\n"
        return self._function(source).__code__


def _call_arguments(dependant: Dependant, keywords: dict[str, str]) -> str:
    """Write the arguments: by position as far as the signature goes along (that is cheaper), the rest by
    name.
    """
    rest = dict(keywords)
    positional = []
    for name in dependant.leading:
        if name not in rest:
            break
        positional.append(rest.pop(name))
    return ", ".join([*positional, *(f"{name}={value}" for name, value in rest.items())])


def _plain_responder(route: APIRoute) -> Callable[[Any], Any]:
    """Return the short form of ``make_response`` for JSON without injected headers or tasks."""
    encode, status, response = route.serializer.encode, route.status_code or 200, _http.Response

    def respond(result: Any) -> Any:
        if isinstance(result, response):
            return result
        return response(encode(result), status, None, "application/json")

    return respond


def _identity(call: Any) -> Any:
    try:
        hash(call)
    except TypeError:
        return id(call)
    return call


def native_convert(field: Field) -> Any:
    """Return the native converter's name, or pydantic's validator for everything that has rules of its
    own.
    """
    annotation = field.info.annotation
    if not field.info.metadata and field.info.discriminator is None:
        inner = without_none(annotation)
        if inner in _NATIVE_TYPES and field.config is None:
            return _NATIVE_TYPES[inner]
        if annotation is Any:
            return "str"
    return field.adapter.validator.validate_python


def _list_convert(place: str, field: Field) -> Any:
    inner = without_none(field.info.annotation)
    if place != "query" or field.info.metadata or get_origin(inner) is not list:
        raise NotNative(f"sequence parameter {field.name!r}")
    item = get_args(inner)[0]
    if item not in _NATIVE_TYPES:
        raise NotNative(f"items of {field.name!r}")
    return _NATIVE_TYPES[item]


def _plain_cookie(value: str) -> str:
    if value.startswith('"'):
        raise ValueError("quoted cookies are decoded by the complete resolver")
    return value


def attach_tasks(result: Any, injected: Any, tasks: BackgroundTasks) -> Any:
    """Let the server run the background tasks after the answer."""
    if tasks.tasks:
        if isinstance(result, _http.Response):
            if result.background is None:
                result.background = tasks
        else:
            injected.background = tasks
    return result


def hand_over(response: Any, stack: CleanupStack) -> Any:
    """Let the server run the cleanup after the answer, and after its background task."""
    if not stack:
        return response
    iterator = getattr(response, "body_iterator", None)
    if iterator is not None:
        response.body_iterator = _guarded(iterator, stack)
        return response
    before = response.background
    if before is None:
        response.background = stack.finish
        return response

    async def after() -> None:
        try:
            await before()
        except BaseException as exc:
            error = await stack.unwind(exc)
            if error is exc:
                raise
            raise error from exc
        await stack.finish()

    response.background = after
    return response


async def _guarded(iterator: Any, stack: CleanupStack) -> Any:
    """Iterate a body and run the cleanup at its end, or throw what went wrong into it."""
    from ._streams import pieces

    try:
        async for piece in pieces(iterator):
            yield piece
    except BaseException as exc:
        error = await stack.unwind(exc)
        if error is exc:
            raise
        raise error from exc
    await stack.finish()


__all__ = ["Missing", "NotNative", "Plan", "UseSlowLane", "compile_route", "response_spec"]
