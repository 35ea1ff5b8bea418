"""The command line. Options have uvicorn's names wherever the feature is the same."""

from __future__ import annotations

import os
import platform
from typing import Any

import click
import fasterapi_http

from ._run import run


def _print_version(context: click.Context, _parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        click.echo(
            f"fasterapi-http {fasterapi_http.__version__} with "
            f"{platform.python_implementation()} {platform.python_version()} on {platform.system()}"
        )
        context.exit()


@click.command(context_settings={"auto_envvar_prefix": "FASTERAPI_HTTP", "show_default": True})
@click.argument("app")
@click.option("--host", default="127.0.0.1", help="Bind socket to this host.")
@click.option(
    "--port", type=click.IntRange(0, 65535), default=8000, help="Bind socket to this port; 0 picks one."
)
@click.option("--uds", default=None, help="Bind to a UNIX domain socket.")
@click.option("--fd", type=int, default=None, help="Bind to socket from this file descriptor.")
@click.option("--reload", is_flag=True, help="Start anew when a .py file changes.")
@click.option(
    "--reload-dir", "reload_dirs", multiple=True, help="Directory to watch; default: the current one."
)
@click.option("--reload-delay", type=float, default=0.25, help="Seconds between looks at the files.")
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=lambda: int(os.environ.get("WEB_CONCURRENCY", "1")),
    show_default="$WEB_CONCURRENCY or 1",
    help="Number of worker processes.",
)
@click.option(
    "--lifespan", type=click.Choice(["auto", "on", "off"]), default="auto", help="Lifespan protocol."
)
@click.option(
    "--interface", type=click.Choice(["auto", "asgi3", "asgi2"]), default="auto", help="Application form."
)
@click.option(
    "--log-level",
    type=click.Choice(["critical", "error", "warning", "info", "debug"]),
    default="info",
    help="Log level.",
)
@click.option("--log-config", default=None, help="File for logging.config: .json, or the INI form.")
@click.option(
    "--use-colors/--no-use-colors", default=None, help="Colours in the log; default: on a terminal."
)
@click.option("--access-log/--no-access-log", default=True, help="Log each request.")
@click.option(
    "--proxy-headers/--no-proxy-headers", default=True, help="Believe X-Forwarded-* of trusted peers."
)
@click.option(
    "--forwarded-allow-ips",
    default=None,
    help="Comma separated list of trusted peers, '*' for all. [default: $FORWARDED_ALLOW_IPS or 127.0.0.1]",
)
@click.option("--root-path", default="", help="Path prefix that a proxy has removed.")
@click.option("--server-header", default=None, help="Value of a Server field; default: none is sent.")
@click.option("--date-header/--no-date-header", default=True, help="Send a Date field.")
@click.option("--backlog", type=int, default=2048, help="Connections that may wait to be accepted.")
@click.option("--limit-concurrency", type=int, default=None, help="Connections at most; more get 503.")
@click.option(
    "--limit-max-requests", type=int, default=None, help="End the process after this many requests."
)
@click.option(
    "--limit-max-body", "max_body_size", type=int, default=10 * 1024 * 1024, help="Bytes of a request body."
)
@click.option(
    "--ws",
    type=click.Choice(["auto", "none"]),
    default="auto",
    help="Whether WebSocket handshakes are taken.",
)
@click.option("--ws-max-size", type=int, default=1024 * 1024, help="Bytes of a WebSocket message.")
@click.option("--ws-max-queue", type=int, default=16, help="Messages that wait before reading pauses.")
@click.option("--ws-ping-interval", type=float, default=20.0, help="Seconds between pings; 0: none.")
@click.option("--ws-ping-timeout", type=float, default=20.0, help="Seconds to answer a ping; 0: any.")
@click.option("--ws-per-message-deflate", type=bool, default=True, help="Compress for clients that can.")
@click.option(
    "--ws-allowed-origin",
    "ws_allowed_origins",
    multiple=True,
    help="Origin that may connect with cookies, '*' for all; default: this host's own pages.",
)
@click.option(
    "--timeout-keep-alive", type=float, default=30.0, help="Seconds that an idle connection stays open."
)
@click.option(
    "--timeout-graceful-shutdown",
    type=float,
    default=30.0,
    help="Seconds that running requests get at the end.",
)
@click.option("--app-dir", default="", help="Look for APP in this directory; default: the current one.")
@click.option(
    "--factory", is_flag=True, help="APP is a function without arguments that makes the application."
)
@click.option(
    "--version",
    is_flag=True,
    callback=_print_version,
    expose_value=False,
    is_eager=True,
    help="Show the version and exit.",
)
def main(app: str, **options: Any) -> None:
    """Serve the ASGI application APP ("module:attribute")."""
    if options["uds"] and options["fd"] is not None:
        raise click.UsageError("--uds and --fd exclude each other")
    if options["reload"] and options["workers"] > 1:
        raise click.UsageError("--reload and --workers exclude each other")
    run(app, **options)
