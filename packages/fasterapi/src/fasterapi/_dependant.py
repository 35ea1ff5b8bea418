"""Analysis of a handler's signature: where each argument comes from, and the graph of its dependencies.

One ``Dependant`` per callable and use. It is built once when a route is declared; both lanes work from it.
"""

from __future__ import annotations

import copy
import dataclasses
import inspect
import re
import sys
import typing
from collections.abc import Callable, Hashable, Iterator
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AliasChoices
from pydantic.fields import FieldInfo

from . import params
from ._annotations import is_one_of, is_scalar, is_scalar_sequence, is_sequence_of, is_subclass, model_of
from ._calls import Kind, call_name, kind_of, unwrapped
from ._fields import Field, Undefined, form_model, make_field, merge_annotated
from .background import BackgroundTasks
from .datastructures import UploadFile
from .exceptions import DependencyScopeError
from .requests import HTTPConnection, Request
from .responses import Response
from .security.base import SecurityBase, SecurityScopes
from .websockets import WebSocket

SpecialKind = Literal["request", "websocket", "connection", "response", "background", "scopes"]

# Tested in this order: Request and WebSocket are HTTPConnections.
_SPECIAL: tuple[tuple[type[Any], SpecialKind], ...] = (
    (Request, "request"),
    (WebSocket, "websocket"),
    (HTTPConnection, "connection"),
    (Response, "response"),
    (BackgroundTasks, "background"),
    (SecurityScopes, "scopes"),
)


@dataclasses.dataclass(slots=True, eq=False)
class Dependant:
    """One callable with the sources of its arguments."""

    call: Callable[..., Any]
    path: str
    name: str | None = None
    kind: Kind = "sync"
    fields: dict[str, list[Field]] = dataclasses.field(
        default_factory=lambda: {"path": [], "query": [], "header": [], "cookie": []}
    )
    body: list[Field] = dataclasses.field(default_factory=list)
    special: dict[str, SpecialKind] = dataclasses.field(default_factory=dict)
    dependencies: list[Dependant] = dataclasses.field(default_factory=list)
    own_scopes: list[str] = dataclasses.field(default_factory=list)
    parent_scopes: list[str] = dataclasses.field(default_factory=list)
    use_cache: bool = True
    scope: Literal["function", "request"] | None = None
    inline: bool = False
    max_concurrency: int | None = None
    leading: tuple[str, ...] = ()  # parameters that may be passed by position, in order

    @property
    def scopes(self) -> list[str]:
        """The OAuth2 scopes that apply here, outermost first."""
        return list(dict.fromkeys([*self.parent_scopes, *self.own_scopes]))

    @property
    def lifetime(self) -> str:
        """When cleanup runs: "request", "function", or "" for what has no cleanup."""
        if self.scope:
            return self.scope
        return "request" if self.kind in ("generator", "async_generator") else ""

    @property
    def security_scheme(self) -> SecurityBase | None:
        """The security scheme, when the callable is one."""
        found = unwrapped(self.call)
        return found if isinstance(found, SecurityBase) else None

    def uses_scopes(self) -> bool:
        """Say whether the result depends on the OAuth2 scopes asked for."""
        return bool(
            self.own_scopes
            or "scopes" in self.special.values()
            or self.security_scheme is not None
            or any(sub.uses_scopes() for sub in self.dependencies)
        )

    def cache_key(self) -> Hashable:
        """Equal keys share one value within a request."""
        scopes = tuple(sorted(set(self.scopes))) if self.uses_scopes() else ()
        return (_ById(self.call), scopes, self.lifetime)

    def walk(self) -> Iterator[Dependant]:
        """Yield this dependant and all below it, each before its dependencies."""
        yield self
        for sub in self.dependencies:
            yield from sub.walk()

    def all_body_fields(self) -> list[Field]:
        """Body members of the handler and of every dependency."""
        return [field for dependant in self.walk() for field in dependant.body]

    def unique(self) -> list[Dependant]:
        """This dependant and all below, each cache key once."""
        seen: dict[Hashable, Dependant] = {}
        for dependant in self.walk():
            seen.setdefault(dependant.cache_key(), dependant)
        return list(seen.values())

    def all_fields(self, place: str) -> list[Field]:
        """Parameters of one place, of this dependant and of all below."""
        return [field for dependant in self.unique() for field in dependant.fields[place]]


class _ById:
    """Hashes any callable: by equality where it is hashable, by identity where not."""

    __slots__ = ("call",)

    def __init__(self, call: Any) -> None:
        self.call = call

    def __hash__(self) -> int:
        try:
            return hash(self.call)
        except TypeError:
            return id(self.call)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ById) and (self.call is other.call or bool(self.call == other.call))


def path_names(path: str) -> set[str]:
    """Return the parameter names in a path template."""
    return {match.split(":")[0] for match in re.findall(r"{(.*?)}", path)}


def typed_signature(call: Callable[..., Any]) -> inspect.Signature:
    """Return the signature with string annotations evaluated; names that cannot be found stay strings."""
    signature = inspect.signature(call)
    target = unwrapped(call)
    if inspect.isclass(target):
        target = target.__init__
    elif not inspect.isroutine(target):
        target = type(target).__call__
    target = unwrapped(target)
    module = sys.modules.get(getattr(target, "__module__", ""), None)
    scope = getattr(target, "__globals__", None) or getattr(module, "__dict__", {})
    parameters = [
        parameter.replace(annotation=evaluated(parameter.annotation, scope))
        for parameter in signature.parameters.values()
    ]
    result = evaluated(signature.return_annotation, scope)
    return signature.replace(parameters=parameters, return_annotation=result)


def evaluated(annotation: Any, scope: dict[str, Any]) -> Any:
    """Evaluate a forward reference in ``scope``, leniently."""
    if not isinstance(annotation, str):
        return annotation
    holder: Any = type("_Holder", (), {"__annotations__": {"value": annotation}})
    try:
        return typing.get_type_hints(holder, scope, {}, include_extras=True)["value"]
    except Exception:
        return annotation


def return_annotation(call: Callable[..., Any]) -> Any:
    """Return the evaluated return annotation, or None when there is none."""
    annotation = typed_signature(call).return_annotation
    return None if annotation in (inspect.Signature.empty, type(None)) else annotation


def analyse(
    path: str,
    call: Callable[..., Any],
    *,
    name: str | None = None,
    own_scopes: list[str] | None = None,
    parent_scopes: list[str] | None = None,
    depends: params.Depends | None = None,
) -> Dependant:
    """Build the Dependant of ``call`` for a route at ``path``.

    AssertionError for declarations that contradict themselves, DependencyScopeError when a request-scoped
    generator depends on a function-scoped one.
    """
    dependant = Dependant(call=call, path=path, name=name, kind=kind_of(call))
    dependant.own_scopes = own_scopes or []
    dependant.parent_scopes = parent_scopes or []
    if depends is not None:
        dependant.use_cache = depends.use_cache
        dependant.scope = depends.scope
        dependant.inline = depends.inline
        dependant.max_concurrency = depends.max_concurrency
    wanted = path_names(path)
    leading = []
    for parameter in typed_signature(call).parameters.values():
        if parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            leading.append(parameter.name)
        _add_parameter(dependant, parameter, wanted)
    dependant.leading = tuple(leading)
    return dependant


def analyse_depends(path: str, depends: params.Depends) -> Dependant:
    """Build the Dependant of a dependency declared on a route or router, whose value nobody takes."""
    assert callable(depends.dependency), "A parameter-less dependency must have a callable dependency"
    scopes = list(depends.scopes or ()) if isinstance(depends, params.Security) else []
    dependant = analyse(path, depends.dependency, own_scopes=scopes, depends=depends)
    dependant.use_cache = True
    return dependant


def _add_parameter(dependant: Dependant, parameter: inspect.Parameter, wanted: set[str]) -> None:
    name = parameter.name
    kind, depends, field = _analyse_parameter(name, parameter.annotation, parameter.default, wanted)
    if depends is not None:
        _add_dependency(dependant, name, depends)
        return
    if field is None:
        special = special_kind(kind)
        assert special is not None
        dependant.special[name] = special
    elif isinstance(field.info, params.Body):
        dependant.body.append(field)
    else:
        assert isinstance(field.info, params.Param) and field.info.in_ is not None
        dependant.fields[field.info.in_.value].append(field)


def _add_dependency(dependant: Dependant, name: str, depends: params.Depends) -> None:
    assert depends.dependency is not None
    generator = dependant.kind in ("generator", "async_generator")
    if generator and dependant.lifetime == "request" and depends.scope == "function":
        raise DependencyScopeError(
            f'The dependency "{call_name(dependant.call)}" has a scope of "request", '
            'it cannot depend on dependencies with scope "function".'
        )
    scopes = list(depends.scopes or ()) if isinstance(depends, params.Security) else []
    parents = [*dependant.parent_scopes, *dependant.own_scopes]
    dependant.dependencies.append(
        analyse(
            dependant.path,
            depends.dependency,
            name=name,
            own_scopes=scopes,
            parent_scopes=parents,
            depends=depends,
        )
    )


def special_kind(annotation: Any) -> SpecialKind | None:
    """Return what is injected for Request, Response, BackgroundTasks and their like."""
    for base, kind in _SPECIAL:
        if is_subclass(annotation, base):
            return kind
    return None


def _declared(
    name: str, annotation: Any, default: Any
) -> tuple[Any, FieldInfo | None, params.Depends | None]:
    """Split the annotation and find the one parameter or Depends object that declares the argument."""
    kind = annotation
    info: FieldInfo | None = None
    depends: params.Depends | None = None
    if get_origin(annotation) is Annotated:
        kind, *extras = get_args(annotation)
        ours = [item for item in extras if isinstance(item, params.Param | params.Body | params.Depends)]
        last = ours[-1] if ours else None
        if isinstance(last, params.Depends):
            depends = last
        elif last is not None:
            info = merge_annotated(last, annotation)
            assert info.default is Undefined or info.default is ..., (
                f"`{type(info).__name__}` default value cannot be set in `Annotated` for {name!r}. "
                "Set the default value with `=` instead."
            )
            if default is not inspect.Parameter.empty:
                assert not isinstance(info, params.Path), "Path parameters cannot have default values"
                info.default = default
            else:
                info.default = Undefined
    if isinstance(default, params.Depends):
        assert depends is None, (
            f"Cannot specify `Depends` in `Annotated` and default value together for {name!r}"
        )
        assert info is None, (
            "Cannot specify a FasterAPI annotation in `Annotated` and `Depends` as a default value together "
            f"for {name!r}"
        )
        depends = default
    elif isinstance(default, FieldInfo):
        assert info is None, (
            f"Cannot specify FasterAPI annotations in `Annotated` and default value together for {name!r}"
        )
        info = copy.copy(default)
        info.annotation = kind
    if depends is not None and depends.dependency is None:
        depends = dataclasses.replace(depends, dependency=kind)
    return kind, info, depends


def _inferred(annotation: Any, kind: Any, default: Any, is_path: bool) -> FieldInfo:
    """Choose the place of a parameter that nothing was said about."""
    value = Undefined if default is inspect.Parameter.empty else default
    info: FieldInfo
    if is_path:
        info = params.Path(annotation=kind)
    elif is_one_of(kind, UploadFile) or is_sequence_of(kind, UploadFile):
        info = params.File(value, annotation=kind)
    elif is_scalar(kind):
        info = params.Query(value, annotation=kind)
    else:
        info = params.Body(value, annotation=kind)
    if get_origin(annotation) is Annotated:
        declared = info.default
        info = merge_annotated(info, annotation)
        info.default = declared
        if is_path:
            info.default_factory = None
    return info


def _analyse_parameter(
    name: str, annotation: Any, default: Any, wanted: set[str]
) -> tuple[Any, params.Depends | None, Field | None]:
    alias_type: Any = getattr(typing, "TypeAliasType", ())
    if isinstance(annotation, alias_type):
        annotation = getattr(annotation, "__value__", annotation)
    if annotation is inspect.Parameter.empty:
        annotation = Any
    is_path = name in wanted
    kind, info, depends = _declared(name, annotation, default)
    if depends is not None:
        return kind, depends, None
    if special_kind(kind) is not None:
        assert info is None, f"Cannot specify FasterAPI annotation for type {kind!r}"
        return kind, None, None
    if info is None:
        info = _inferred(annotation, kind, default, is_path)
    if is_path:
        assert isinstance(info, params.Path), f"Cannot use `{type(info).__name__}` for path param {name!r}"
        choices = info.validation_alias
        if isinstance(choices, AliasChoices):
            matching = [choice for choice in choices.choices if isinstance(choice, str) and choice in wanted]
            if matching:
                info = copy.copy(info)
                info.validation_alias = matching[0]
    if not info.alias:
        hyphens = isinstance(info, params.Header) and info.convert_underscores
        info.alias = name.replace("_", "-") if hyphens else name
    field = make_field(name, annotation, info)
    if is_path:
        assert is_scalar(info.annotation), "Path params must be of one of the supported types"
    elif isinstance(info, params.Query):
        assert (
            is_scalar(info.annotation)
            or is_scalar_sequence(info.annotation)
            or model_of(info.annotation) is not None
        ), f"Query parameter {name!r} must be one of the supported types"
    return kind, None, field


def should_embed(fields: list[Field]) -> bool:
    """Say whether body members are looked up under their names instead of being the body itself."""
    if not fields:
        return False
    if len({field.name for field in fields}) > 1:
        return True
    first = fields[0]
    if getattr(first.info, "embed", None):
        return True
    return isinstance(first.info, params.Form) and form_model(first) is None and not _is_model(first)


def _is_model(field: Field) -> bool:
    from pydantic import BaseModel

    return is_subclass(field.info.annotation, BaseModel)
