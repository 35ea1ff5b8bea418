"""The commands."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from .._route import APIRoute
from .._version import __version__
from .discover import DiscoveryError, find_target, load
from .reload import run_with_reload

cli = typer.Typer(name="fasterapi", no_args_is_help=True, add_completion=False, rich_markup_mode="rich")

Target = Annotated[
    str | None,
    typer.Argument(
        metavar="APP", help="module:app, a file or a folder; main.py, app.py or api.py here when omitted."
    ),
]
AppName = Annotated[str | None, typer.Option("--app", help="Name of the App in the module.")]
Host = Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")]
Port = Annotated[int, typer.Option(help="Port to listen on.")]


def _version(value: bool) -> None:
    if value:
        typer.echo(f"fasterapi {__version__}")
        raise typer.Exit()


@cli.callback()
def main_options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """FasterAPI: serve and inspect applications."""


def _find(target: str | None, name: str | None) -> str:
    try:
        return find_target(target, name)
    except DiscoveryError as exc:
        raise typer.BadParameter(str(exc)) from None


def _load(target: str | None, name: str | None) -> Any:
    try:
        return load(find_target(target, name))
    except DiscoveryError as exc:
        raise typer.BadParameter(str(exc)) from None


def _serve(
    target: str | None, name: str | None, reload: bool, reload_dir: list[Path] | None, **options: Any
) -> None:
    if not reload:
        _load(target, name).run(**options)
        return
    found = _find(target, name)
    command = [sys.executable, "-m", "fasterapi", "run", found, "--host", options["host"]]
    command += ["--port", str(options["port"])]
    if not options["access_log"]:
        command.append("--no-access-log")
    raise typer.Exit(run_with_reload(command, reload_dir or [Path.cwd()]))


@cli.command()
def run(
    app: Target = None,
    name: AppName = None,
    host: Host = "0.0.0.0",
    port: Port = 8000,
    workers: Annotated[int, typer.Option(help="Number of processes that share the port.")] = 1,
    reload: Annotated[bool, typer.Option(help="Restart when a source file changes.")] = False,
    uds: Annotated[str | None, typer.Option(help="Path of a unix socket instead of host and port.")] = None,
    access_log: Annotated[bool, typer.Option(help="Log every request.")] = True,
    root_path: Annotated[str, typer.Option(help="Path prefix that a proxy in front removes.")] = "",
) -> None:
    """Serve an application, for production."""
    if reload:
        _serve(app, name, True, None, host=host, port=port, access_log=access_log)
        return
    application = _load(app, name)
    if root_path:
        application.root_path = root_path
    application.run(host=host, port=port, uds=uds, workers=workers, access_log=access_log)


@cli.command()
def dev(
    app: Target = None,
    name: AppName = None,
    host: Host = "127.0.0.1",
    port: Port = 8000,
    reload: Annotated[bool, typer.Option(help="Restart when a source file changes.")] = True,
    reload_dir: Annotated[
        list[Path] | None, typer.Option(help="Folders to watch; the current one by default.")
    ] = None,
    access_log: Annotated[bool, typer.Option(help="Log every request.")] = True,
) -> None:
    """Serve an application while it is developed: on this machine only, restarted at every change."""
    typer.echo(f"Documentation: http://{host}:{port}/docs", err=True)
    _serve(app, name, reload, reload_dir, host=host, port=port, access_log=access_log)


@cli.command()
def routes(app: Target = None, name: AppName = None) -> None:
    """List the routes of an application."""
    from rich.console import Console
    from rich.table import Table

    from .._plan import NotNative, compile_route

    table = Table("Methods", "Path", "Name", "Lane", "Tags", box=None, header_style="bold")
    for route in _load(app, name).routes:
        lane = ""
        if isinstance(route, APIRoute):
            try:
                lane = compile_route(route).mode
            except NotNative as reason:
                lane = f"resolver ({reason})"
        methods = ",".join(sorted(getattr(route, "methods", None) or ())) or type(route).__name__
        tags = ",".join(str(getattr(tag, "value", tag)) for tag in getattr(route, "tags", ()))
        table.add_row(methods, getattr(route, "path", ""), getattr(route, "name", ""), lane, tags)
    Console().print(table)


@cli.command()
def schema(
    app: Target = None,
    name: AppName = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write instead of the terminal.")
    ] = None,
    indent: Annotated[int, typer.Option(help="Spaces per level; 0 for one line.")] = 2,
) -> None:
    """Write the OpenAPI document of an application."""
    text = json.dumps(_load(app, name).openapi(), indent=indent or None, ensure_ascii=False)
    if output is None:
        typer.echo(text)
    else:
        output.write_text(text + "\n", encoding="utf-8")


def main() -> None:
    """Entry point of the ``fasterapi`` command."""
    cli()
