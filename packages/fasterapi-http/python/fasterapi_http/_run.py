"""Running an application: in this process, in worker processes under a supervisor, or on a loop that runs already."""

from __future__ import annotations

import logging
import signal
import socket
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, ParamSpec

import fasterapi_core

from ._config import STARTUP_FAILURE, Config
from ._exceptions import TlsError
from ._logs import configure_logging
from ._server import Server
from ._serving import Serving, prepare_environment

P = ParamSpec("P")


def _takes_config(
    make: Callable[P, Config],
) -> Callable[[Callable[[Config], None]], Callable[P, None]]:
    def decorate(function: Callable[[Config], None]) -> Callable[P, None]:
        def run(*args: P.args, **kwargs: P.kwargs) -> None:
            function(make(*args, **kwargs))

        run.__name__ = run.__qualname__ = function.__name__
        run.__doc__ = function.__doc__
        return run

    return decorate


def _takes_config_async(
    make: Callable[P, Config],
) -> Callable[[Callable[[Config], Coroutine[Any, Any, None]]], Callable[P, Coroutine[Any, Any, None]]]:
    def decorate(
        function: Callable[[Config], Coroutine[Any, Any, None]],
    ) -> Callable[P, Coroutine[Any, Any, None]]:
        async def serve(*args: P.args, **kwargs: P.kwargs) -> None:
            await function(make(*args, **kwargs))

        serve.__name__ = serve.__qualname__ = function.__name__
        serve.__doc__ = function.__doc__
        return serve

    return decorate


@_takes_config(Config)
def run(config: Config) -> None:
    """Serve an application until SIGINT or SIGTERM; returns after a graceful shutdown.

    The arguments are those of ``Config``: the application itself or ``"module:attribute"``, and options by name.

    Raises ConfigError for options that are out of range or contradict each other, and SystemExit with code 3 when the
    application cannot be imported or started, 1 when the address cannot be bound.

    >>> fasterapi_http.run("main:app", host="0.0.0.0", port=8000, workers=4)  # doctest: +SKIP
    """
    configure_logging(config)
    prepare_environment(config)
    if config.reload:
        from ._reload import run_reloading

        code = run_reloading(config)
    elif config.workers > 1 or config.supervise:
        from ._supervisor import Supervisor

        code = Supervisor(config).run()
    else:
        code = serve_here(config)
    if code:
        raise SystemExit(code)


@_takes_config_async(Config)
async def serve(config: Config) -> None:
    """Serve an application on the running loop, which must be one of ``fasterapi_core``, until cancelled.

    The arguments are those of ``Config``; ``workers`` and ``reload`` are for ``run()``. Signals are left alone. Raises
    SystemExit like ``run()`` when it cannot start; a cancellation shuts down gracefully and is then raised.
    """
    server = Server(config)
    await server.serve(signals=())


def serve_here(
    config: Config,
    sockets: Sequence[socket.socket] | None = None,
    *,
    signals: Sequence[signal.Signals] = (signal.SIGINT, signal.SIGTERM),
) -> int:
    """Serve in this process until one of ``signals`` comes; returns its exit code."""

    async def main() -> int:
        try:
            server = Server(config)
        except TlsError as error:
            logging.getLogger("fasterapi.error").error("%s", error)
            return STARTUP_FAILURE
        return await Serving(config, server).run(sockets, signals=signals)

    return fasterapi_core.run(main())
