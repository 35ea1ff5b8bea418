"""Config: every option of the server, once. The command line, the environment and ``run()`` are made from it."""

from __future__ import annotations

import dataclasses
import ipaddress
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Literal, get_args

from ._asgi import Interface
from ._lifespan import Mode as LifespanMode
from ._limits import Limits
from ._tls import TlsOptions, from_uvicorn

Loop = Literal["auto", "fasterapi"]
LogLevel = Literal["critical", "error", "warning", "info", "debug", "trace"]

STARTUP_FAILURE = 3
"""Exit code of a process whose application could not be imported or started."""
BIND_FAILURE = 1
"""Exit code of a process that could not listen."""
USAGE = 2
"""Exit code for options that are unknown, out of range or contradict each other."""


_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # RFC 9110 section 5.6.2
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "date", "trailer", "upgrade"})


# Options that are limits under another name: the limit, and its units in one of the option's
_LIMIT_OPTIONS = {
    "max_body_size": ("max_body_bytes", 1),
    "limit_concurrency": ("max_connections", 1),
    "h11_max_incomplete_event_size": ("max_header_bytes", 1),
    "timeout_keep_alive": ("keep_alive_ms", 1000),
    "ws_max_size": ("max_ws_message_bytes", 1),
    "ws_max_queue": ("max_ws_queue", 1),
    "ws_ping_interval": ("ws_ping_interval_ms", 1000),
    "ws_ping_timeout": ("ws_ping_timeout_ms", 1000),
}


class ConfigError(ValueError):
    """An option that is out of range, or contradicts another one; the message is one line that names it."""


def option(
    default: Any,
    help: str,
    *,
    flag: str | None = None,
    minimum: float | None = None,
    env: str | None = None,
    takes_value: bool = False,
) -> Any:
    """A field of ``Config``; ``flag`` is its name on the command line where it is not the field's.

    ``minimum`` is the least number allowed; ``env`` one more environment variable to look at. A bool with
    ``takes_value`` is "--name true" instead of "--name" and "--no-name".
    """
    metadata = {"help": help, "flag": flag, "minimum": minimum, "env": env, "takes_value": takes_value}
    if isinstance(default, list):
        return field(default_factory=list, metadata=metadata)
    return field(default=default, metadata=metadata)


@dataclass(slots=True)
class Config:
    """What to serve and how. Names and meanings are uvicorn's where the option exists there.

    Times are seconds, sizes bytes. Raises ConfigError (a ValueError) when options are out of range or exclude each
    other, TypeError for unknown ones.

    >>> Config("main:app", port=8080, workers=4).workers
    4
    """

    app: str | Callable[..., Any]
    _: KW_ONLY
    host: str = option("127.0.0.1", "Bind socket to this host.")
    port: int = option(8000, "Bind socket to this port; 0 picks one.", minimum=0)
    uds: str | None = option(None, "Bind to a UNIX domain socket.")
    fd: int | None = option(None, "Bind to socket from this file descriptor.", minimum=0)
    backlog: int = option(2048, "Connections that may wait to be accepted.", minimum=1)
    app_dir: str | None = option("", "Look for APP in this directory; default: the current one.")
    factory: bool = option(False, "APP is a function without arguments that makes the application.")
    interface: Interface = option("auto", "Application form.")
    threads: int = option(40, "Requests of a WSGI application that run at a time.", minimum=1)
    lifespan: LifespanMode = option("auto", "Lifespan protocol.")
    loop: Loop = option("auto", "Event loop; the server needs its own, so both are the same.")
    root_path: str = option("", "Path prefix that a proxy has removed.")
    env_file: str | None = option(
        None, "File of NAME=VALUE lines, put into the environment of the application."
    )

    reload: bool = option(False, "Start anew when a source file changes; for development.")
    reload_dirs: list[str] = option([], "Directory to watch; default: the current one.", flag="reload-dir")
    reload_includes: list[str] = option([], "Glob of files to watch; default: *.py.", flag="reload-include")
    reload_excludes: list[str] = option(
        [],
        "Glob of files or directories not to watch; default: .*, .py[cod], .sw.*, ~*.",
        flag="reload-exclude",
    )
    reload_delay: float = option(0.25, "Seconds between looks at the files.", minimum=0.01)

    workers: int = option(1, "Number of worker processes.", minimum=1, env="WEB_CONCURRENCY")
    supervise: bool = option(False, "Run a single worker under the supervisor as well.")
    timeout_worker_healthcheck: float = option(
        5.0, "Seconds without a sign of life after which a worker is replaced; 0 never.", minimum=0
    )
    timeout_worker_start: float = option(
        60.0, "Seconds that a worker may take until it serves; 0 any time.", minimum=0
    )
    limit_max_requests: int | None = option(
        None, "End the process after this many requests (a supervisor starts another).", minimum=1
    )
    limit_max_requests_jitter: int = option(
        0, "At most this many requests are added to that at random.", minimum=0
    )
    limit_worker_rss: int | None = option(
        None, "Replace a worker above this many bytes of memory.", minimum=1
    )
    limit_worker_age: float | None = option(
        None, "Replace a worker after this many seconds; up to a tenth more at random.", minimum=1
    )

    log_config: str | dict[str, Any] | None = option(
        None, "File for logging.config: .json, .yaml, or the INI form."
    )
    log_level: LogLevel = option("info", "Log level.")
    use_colors: bool | None = option(None, "Colours in the log; default: on a terminal.")
    access_log: bool = option(True, "Log each request.")
    access_log_file: str | None = option(
        None, "File for the access log, opened anew on SIGUSR1; default: standard output."
    )
    access_log_format: str = option(
        "", "Format of its lines with %(x)s atoms, or 'json'; default: uvicorn's."
    )

    proxy_headers: bool = option(True, "Believe X-Forwarded-* of trusted peers.")
    forwarded_allow_ips: str | list[str] = option(
        "127.0.0.1,::1",
        "Comma separated list of trusted peers: addresses, networks, '*' for all.",
        env="FORWARDED_ALLOW_IPS",
    )
    forwarded_style: Literal["x-forwarded", "forwarded"] = option(
        "x-forwarded", "Which of the two the proxies set: X-Forwarded-*, or Forwarded (RFC 7239)."
    )
    forwarded_host: bool = option(False, "Believe the host and port that trusted proxies tell as well.")
    proxy_protocol: bool = option(
        False, "Connections of trusted peers begin with the PROXY protocol, version 1 or 2."
    )
    server_header: bool = option(False, "Send 'Server: fasterapi-http'.")
    date_header: bool = option(True, "Send a Date field.")
    headers: list[tuple[str, str]] = option([], "Field of every answer, as Name:Value.", flag="header")

    metrics_path: str | None = option(None, "Path of the metrics in Prometheus' format.")
    metrics_port: int | None = option(
        None, "Port of their own for metrics, health and readiness; the path is then /metrics.", minimum=0
    )
    metrics_host: str = option("127.0.0.1", "Host of --metrics-port.")
    health_path: str | None = option(None, "Path that answers 200 while the process works.")
    ready_path: str | None = option(None, "Path that answers 200, and 503 from the wish to stop on.")
    trace_context: bool = option(False, "Parse traceparent into scope['trace_context'].")
    otel: bool = option(False, "A span for each request; needs opentelemetry-api.")
    request_deadline: float | None = option(
        None, "Seconds after which a request is cancelled and answered with 504.", minimum=0.001
    )
    deadline_header: str | None = option(
        None, "Field in which a client may ask for an earlier deadline: seconds, or 250ms."
    )
    on_request_start: Callable[[Any], object] | None = field(default=None, metadata={"help": None})
    on_request_end: Callable[[Any, int, float, BaseException | None], object] | None = field(
        default=None, metadata={"help": None}
    )

    rate_limit: str | None = option(
        None, "Requests per client over all workers [429]: '100/s', '600/m', with a burst '100/s:300'."
    )
    rate_limit_key: str = option(
        "address", "What a client is: address, prefix (its /24 or /64) or header:NAME."
    )
    limit_adaptive: bool = option(
        False, "Find how many requests may be in flight from how long they take; more get 503."
    )
    limit_adaptive_max: int = option(1000, "At most this many with --limit-adaptive.", minimum=4)
    balance: bool = option(True, "Hand accepted connections to the worker that has the fewest.")
    limit_concurrency: int | None = option(None, "Connections at most; more get 503.", minimum=1)
    max_body_size: int = option(
        10 * 1024 * 1024, "Bytes of a request body [413].", flag="limit-max-body", minimum=0
    )
    h11_max_incomplete_event_size: int | None = option(
        None, "uvicorn's name for the limit of header bytes [431].", minimum=1
    )
    ws: Literal["auto", "none"] = option("auto", "Whether WebSocket handshakes are taken.")
    ws_max_size: int = option(1024 * 1024, "Bytes of a WebSocket message.", minimum=1)
    ws_max_queue: int = option(16, "Messages that wait before reading pauses.", minimum=1)
    ws_ping_interval: float | None = option(20.0, "Seconds between pings; 0: none.", minimum=0)
    ws_ping_timeout: float | None = option(20.0, "Seconds to answer a ping; 0: any.", minimum=0)
    ws_per_message_deflate: bool = option(True, "Compress for clients that can.", takes_value=True)
    ws_allowed_origins: list[str] = option(
        [],
        "Origin that may connect with cookies, '*' for all; default: this host's own pages.",
        flag="ws-allowed-origin",
    )
    ssl_keyfile: list[str] = option([], "Private key, PEM; default: in the certificate's file.")
    ssl_certfile: list[str] = option(
        [], "Certificate chain, PEM; turns TLS on. Several ones, with a key each, are chosen by name (SNI)."
    )
    ssl_keyfile_password: str | None = option(None, "Password of encrypted keys.")
    ssl_version: str | None = option(
        None, "Lowest TLS version, as TLSv1.3, or a number of Python's ssl module; default: TLSv1.2."
    )
    ssl_cert_reqs: int = option(0, "Client certificates: 0 no, 1 optional, 2 required.", minimum=0)
    ssl_ca_certs: str | None = option(None, "Authorities of client certificates: PEM file, or directory.")
    ssl_ciphers: str = option("", "OpenSSL's cipher list; default: forward secrecy and AEAD only.")
    ssl_ticket_secret: str = field(default="", metadata={"help": None})
    """Hexadecimal; set by a supervisor, so that its workers take each other's tickets."""
    limits: Limits | None = field(default=None, metadata={"help": None})
    timeout_keep_alive: float = option(30.0, "Seconds that an idle connection stays open.", minimum=0)
    timeout_graceful_shutdown: float = option(
        30.0, "Seconds that running requests get at the end.", minimum=0
    )
    drain_idle_grace: float = option(
        0.5, "At the end an idle connection stays this long at most, half of it at least.", minimum=0
    )
    shutdown_delay: float = option(
        0.0, "Seconds between 'not ready' and the end of accepting, for load balancers.", minimum=0
    )

    def __post_init__(self) -> None:
        if isinstance(self.forwarded_allow_ips, (list, tuple)):
            self.forwarded_allow_ips = ",".join(self.forwarded_allow_ips)
        if self.ssl_version is not None:
            self.ssl_version = (
                str(int(self.ssl_version)) if isinstance(self.ssl_version, int) else self.ssl_version
            )
        for name in (
            *("reload_dirs", "reload_includes", "reload_excludes", "ws_allowed_origins"),
            *("ssl_keyfile", "ssl_certfile"),
        ):
            value = getattr(self, name)
            setattr(self, name, [value] if isinstance(value, str) else list(value or ()))
        self.headers = [_header(item) for item in self.headers or ()]
        for entry in dataclasses.fields(self):
            _check(entry, getattr(self, entry.name))
        self._contradictions()

    def _contradictions(self) -> None:
        if self.uds is not None and self.fd is not None:
            raise ConfigError("--uds and --fd exclude each other")
        if self.reload and (self.workers > 1 or self.supervise):
            raise ConfigError("--reload and --workers exclude each other")
        if self.reload and not isinstance(self.app, str):
            raise ConfigError("--reload needs the application as 'module:attribute'")
        if self.reload and (self.on_request_start or self.on_request_end):
            raise ConfigError("--reload cannot hand on_request_start and on_request_end to its child process")
        if self.limit_max_requests_jitter and self.limit_max_requests is None:
            raise ConfigError("--limit-max-requests-jitter needs --limit-max-requests")
        if not self.reload and (self.reload_dirs or self.reload_includes or self.reload_excludes):
            raise ConfigError("--reload-dir, --reload-include and --reload-exclude need --reload")
        if self.proxy_protocol and self.ssl_certfile:
            raise ConfigError("--proxy-protocol and --ssl-certfile exclude each other")
        for entry in self.trusted():
            if entry != "*":
                try:
                    ipaddress.ip_network(entry, strict=False)
                except ValueError:
                    raise ConfigError(
                        f"--forwarded-allow-ips: '{entry}' is no address, network or '*'"
                    ) from None
        for name in ("metrics_path", "health_path", "ready_path"):
            path = getattr(self, name)
            if path is not None and not path.startswith("/"):
                raise ConfigError(f"--{name.replace('_', '-')}: '{path}' does not begin with '/'")
        if self.deadline_header is not None and not _TOKEN.fullmatch(self.deadline_header):
            raise ConfigError(f"--deadline-header: {self.deadline_header!r} is no name of a field")
        if self.rate_limit_key not in ("address", "prefix") and not re.fullmatch(
            r"header:" + _TOKEN.pattern, self.rate_limit_key
        ):
            raise ConfigError(
                f"--rate-limit-key: '{self.rate_limit_key}' is not address, prefix or header:NAME"
            )
        self.rate()
        if self.access_log_format:
            from ._http import check_access_format

            try:
                check_access_format(self.access_log_format)
            except ValueError as error:
                raise ConfigError(f"--access-log-format: {error}") from None
        if self.log_level not in get_args(LogLevel):
            raise ConfigError(
                f"--log-level: '{self.log_level}' is not one of {', '.join(get_args(LogLevel))}"
            )

        try:
            self.tls()
        except ValueError as error:
            raise ConfigError(str(error)) from None

    def tls(self) -> TlsOptions | None:
        """The TLS options; None for plain HTTP."""
        if not self.ssl_certfile and not self.ssl_keyfile:
            return None
        return from_uvicorn(
            certfiles=self.ssl_certfile,
            keyfiles=self.ssl_keyfile,
            password=self.ssl_keyfile_password,
            version=self.ssl_version,
            cert_reqs=self.ssl_cert_reqs,
            ca_certs=self.ssl_ca_certs,
            ciphers=self.ssl_ciphers,
            ticket_secret=bytes.fromhex(self.ssl_ticket_secret),
        )

    @property
    def scheme(self) -> str:
        """Of the URLs that lead here."""
        return "https" if self.ssl_certfile else "http"

    def trusted(self) -> list[str]:
        """``forwarded_allow_ips`` as a list."""
        return [part.strip() for part in str(self.forwarded_allow_ips).split(",") if part.strip()]

    def rate(self) -> tuple[float, float]:
        """Requests per second and burst of ``rate_limit``; zeros when there is none."""
        if self.rate_limit is None:
            return 0.0, 0.0
        match = re.fullmatch(r"(\d+(?:\.\d+)?)/([smh])(?::(\d+))?", self.rate_limit)
        rate = float(match[1]) / {"s": 1, "m": 60, "h": 3600}[match[2]] if match else 0.0
        if match is None or not rate:
            raise ConfigError(f"--rate-limit: '{self.rate_limit}' is not like '100/s' or '600/m:50'")
        return rate, float(match[3]) if match[3] else max(1.0, float(match[1]))

    def server_limits(self) -> Limits:
        """The server's limits: ``limits``, with what the other options change."""
        changes: dict[str, int] = {}
        for name, (limit, factor) in _LIMIT_OPTIONS.items():
            value = getattr(self, name)
            if value != type(self).__dataclass_fields__[name].default:
                changes[limit] = int((value or 0) * factor)
        return dataclasses.replace(self.limits or Limits(), **changes)

    def to_json(self) -> str:
        """For the environment of another process; the application must be named, not given."""
        values = {
            entry.name: getattr(self, entry.name)
            for entry in dataclasses.fields(self)
            if entry.name not in ("on_request_start", "on_request_end")  # run(reload=True) refuses them
        }
        if self.limits is not None:
            values["limits"] = dataclasses.asdict(self.limits)
        return json.dumps(values)

    @classmethod
    def from_json(cls, text: str) -> Config:
        """The inverse of ``to_json()``."""
        values = json.loads(text)
        if values["limits"] is not None:
            values["limits"] = Limits(**values["limits"])
        return cls(**values)


def flag_of(entry: dataclasses.Field[Any]) -> str:
    """The long option of a field, without the dashes."""
    return entry.metadata.get("flag") or entry.name.replace("_", "-")


def options() -> list[dataclasses.Field[Any]]:
    """The fields that are options of the command line, in the order of the class."""
    return [entry for entry in dataclasses.fields(Config) if entry.metadata.get("help")]


def _check(entry: dataclasses.Field[Any], value: Any) -> None:
    minimum = entry.metadata.get("minimum")
    if minimum is None or value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ConfigError(f"--{flag_of(entry)}: {value!r} is not a number")
    if not math.isfinite(value) or value < minimum:
        raise ConfigError(f"--{flag_of(entry)}: {value} is less than {minimum}")
    if entry.name == "port" and value > 65535:
        raise ConfigError(f"--port: {value} is more than 65535")


def _header(item: str | Sequence[str]) -> tuple[str, str]:
    if isinstance(item, str):
        name, colon, value = item.partition(":")
        if not colon:
            raise ConfigError(f"--header: {item!r} is not of the form 'Name: value'")
    else:
        name, value = (str(part) for part in item)
    name, value = name.strip(), value.strip()
    if not _TOKEN.fullmatch(name) or name.lower() in _FRAMING or any(c < " " or c > "~" for c in value):
        raise ConfigError(f"--header: {name!r}: {value!r} is not a field that a server may add")
    return name, value


def load_env_file(path: str | os.PathLike[str]) -> None:
    """Put the NAME=VALUE lines of a file into the environment; what is set already stays.

    Empty lines and lines that start with ``#`` do not count, ``export`` in front of a name and quotes around a value
    are taken off. Raises ConfigError for a file that cannot be read or a line of another form.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--env-file: cannot read {os.fspath(path)!r}: {error}") from None
    for number, line in enumerate(lines, 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        name, separator, value = line.removeprefix("export ").partition("=")
        name, value = name.strip(), value.strip()
        if not separator or not name or any(c.isspace() for c in name):
            raise ConfigError(f"--env-file: {os.fspath(path)}:{number} is not of the form NAME=VALUE")
        if len(value) >= 2 and value[0] == value[-1] and value[0] in "'\"":
            value = value[1:-1]
        else:
            value = value.partition(" #")[0].rstrip()
        os.environ.setdefault(name, value)
