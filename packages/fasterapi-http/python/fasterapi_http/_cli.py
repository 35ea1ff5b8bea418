"""The command line, made from the fields of ``Config``: one option and one environment variable for each."""

from __future__ import annotations

import dataclasses
import platform
import sys
import typing
from typing import Any

import click
import fasterapi_http

from ._config import USAGE, Config, ConfigError, flag_of, options
from ._limits import Limits
from ._run import run

PREFIX = "FASTERAPI_HTTP_"
UVICORN_PREFIX = "UVICORN_"
_LIMIT = "limit__"


class _Line(click.types.StringParamType):
    """Text of which the environment holds one per line."""

    envvar_list_splitter = "\n"


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(
            f"fasterapi-http {fasterapi_http.__version__} with "
            f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
        )
        context.exit()


def _strip_none(hint: Any) -> Any:
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if typing.get_origin(hint) is typing.Literal or not parts:
        return hint
    if typing.get_origin(hint) is list:
        return hint
    return next((part for part in parts if part in (str, int, float, bool)), parts[0])


def environment_names(entry: dataclasses.Field[Any]) -> list[str]:
    """The variables that are asked for an option, the first that is set counts."""
    name = flag_of(entry).upper().replace("-", "_")
    extra = entry.metadata.get("env")
    return [PREFIX + name, UVICORN_PREFIX + name, *([extra] if extra else [])]


def _option(entry: dataclasses.Field[Any], hint: Any) -> click.Option:
    flag = flag_of(entry)
    kind = _strip_none(hint)
    names = [entry.name, f"--{flag}"]
    settings: dict[str, Any] = {
        "help": entry.metadata["help"],
        "envvar": environment_names(entry),
        "show_envvar": False,
    }
    if typing.get_origin(kind) is list:
        return click.Option(
            names, multiple=True, type=_Line() if flag == "header" else str, default=[], **settings
        )
    settings["default"] = entry.default
    settings["show_default"] = entry.default not in (None, "")
    if kind is bool and not entry.metadata["takes_value"]:
        names[1] += f"/--no-{flag}"
        return click.Option(names, **settings)
    if typing.get_origin(kind) is typing.Literal:
        return click.Option(names, type=click.Choice(typing.get_args(kind)), **settings)
    return click.Option(names, type=kind, **settings)


def _limit_option(entry: dataclasses.Field[Any]) -> click.Option:
    flag = "limit-" + entry.name.replace("_", "-")
    name = flag.upper().replace("-", "_")
    return click.Option(
        [_LIMIT + entry.name, f"--{flag}"],
        type=click.IntRange(0),
        default=None,
        envvar=[PREFIX + name],
        help=f"Limits.{entry.name}. [default: {entry.default}]",
    )


def _serve(app: str, **values: Any) -> None:
    limits = {name.removeprefix(_LIMIT): values.pop(name) for name in list(values) if name.startswith(_LIMIT)}
    limits = {name: value for name, value in limits.items() if value is not None}
    if limits:
        values["limits"] = Limits(**limits)
    settings: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
    }
    run(app, **settings)


def command() -> click.Command:
    """The click command; ``main()`` runs it."""
    hints = typing.get_type_hints(Config)
    parameters: list[click.Parameter] = [click.Argument(["app"])]
    parameters += [_option(entry, hints[entry.name]) for entry in options()]
    parameters += [_limit_option(entry) for entry in dataclasses.fields(Limits)]
    parameters.append(
        click.Option(
            ["--version"],
            is_flag=True,
            callback=_print_version,
            expose_value=False,
            is_eager=True,
            help="Show the version and exit.",
        )
    )
    return click.Command(
        "fasterapi-http",
        params=parameters,
        callback=_serve,
        help='Serve the application APP ("module:attribute").',
        epilog="Each option is also read from the environment: FASTERAPI_HTTP_ and its name in capitals with "
        "underscores, or else UVICORN_ and that name.",
    )


def main(program: str = "fasterapi-http") -> None:
    """Run the command line; exits with 0, or 1, 2 or 3 as documented in docs/operations.md."""
    try:
        code = command().main(prog_name=program, standalone_mode=False)
    except click.ClickException as error:
        print(f"fasterapi-http: {error.format_message()}", file=sys.stderr)
        sys.exit(USAGE)
    except ConfigError as error:
        print(f"fasterapi-http: {error}", file=sys.stderr)
        sys.exit(USAGE)
    except click.Abort:
        sys.exit(130)
    sys.exit(code if isinstance(code, int) else 0)
