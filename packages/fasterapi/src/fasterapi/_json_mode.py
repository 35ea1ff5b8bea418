"""May a JSON body be validated straight from its bytes?

FastAPI decodes JSON first and validates Python objects. pydantic's own JSON mode is faster and gives the
same result for nearly every schema, but not for all: in strict mode it accepts strings for dates, in unions
it prefers a date to the equal string, and base64 bytes are decoded. For those the two steps stay two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fasterapi_core import json_loads
from pydantic import TypeAdapter

# Types that JSON mode reads from a string which Python mode takes for a string: unsafe beside others in a
# union.
_STRING_LIKE = frozenset(
    {
        "date",
        "datetime",
        "time",
        "timedelta",
        "uuid",
        "bytes",
        "decimal",
        "url",
        "multi-host-url",
        "enum",
        "complex",
    }
)
_UNSAFE = frozenset(
    {"is-instance", "is-subclass", "callable", "json-or-python", "custom-error", "chain", "json"}
)
_SEQUENCES = frozenset({"set", "frozenset", "tuple", "generator"})


def body_validator(adapter: TypeAdapter[Any]) -> Callable[[bytes], Any]:
    """Return the function from the body's bytes to the validated value; it raises whatever does not fit."""
    validator = adapter.validator
    if json_mode_is_equal(adapter.core_schema):
        return validator.validate_json
    validate = validator.validate_python

    def decode_then_validate(data: bytes) -> Any:
        return validate(json_loads(data), from_attributes=True)

    return decode_then_validate


def json_mode_is_equal(schema: Any) -> bool:
    """Say whether both ways give the same value for every document."""
    return _safe(schema, in_union=False, seen=set())


def _safe(schema: Any, in_union: bool, seen: set[int]) -> bool:
    if isinstance(schema, list | tuple):
        return all(_safe(item, in_union, seen) for item in schema)
    if not isinstance(schema, dict):
        return True
    if id(schema) in seen:
        return True
    seen.add(id(schema))
    kind = schema.get("type")
    if isinstance(kind, str):
        if kind in _UNSAFE or schema.get("strict") or schema.get("val_json_bytes") == "base64":
            return False
        if in_union and (kind in _STRING_LIKE or kind in _SEQUENCES):
            return False
        if kind == "bytes":
            return False
        config = schema.get("config")
        if isinstance(config, dict) and (config.get("strict") or config.get("val_json_bytes")):
            return False
        if kind in ("union", "tagged-union"):
            in_union = True
        elif kind in ("model", "typed-dict", "dataclass", "dataclass-args", "model-fields") and in_union:
            # A member of a union is chosen by how exactly its own fields fit, so they count as in the union
            # too.
            pass
    return all(
        _safe(value, in_union, seen)
        for key, value in schema.items()
        if key not in ("metadata", "serialization")
    )
