"""From arguments, connection string, service, environment and defaults to one resolved configuration.

Precedence is libpq's: arguments > connection string > service file > environment > defaults. ``resolve`` does
no network I/O; it reads the password file, the service file and looks whether certificate files exist.
"""

from __future__ import annotations

import atexit
import contextlib
import getpass
import os
import ssl as ssl_module
import stat
import stringprep
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _dsn
from .exceptions import ClientConfigurationError, UnsupportedClientFeatureError

SSL_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SESSION_ATTRS = ("any", "read-write", "read-only", "primary", "standby", "prefer-standby")
AUTH_METHODS = ("none", "password", "md5", "scram-sha-256")
_OTHER_AUTH_METHODS = ("gss", "sspi", "oauth", "scram-sha-256-plus")
_TLS_VERSIONS = {"tlsv1": "TLSv1", "tlsv1.1": "TLSv1.1", "tlsv1.2": "TLSv1.2", "tlsv1.3": "TLSv1.3"}
_SOCKET_DIRECTORIES = ("/var/run/postgresql", "/run/postgresql", "/tmp")
DEFAULT_PORT = 5432
_VARIABLES = [(name, variable) for name, variable in _dsn.OPTIONS.items() if variable]


@dataclass(slots=True)
class Resolved:
    """A connection's configuration with nothing left to look up but host names."""

    hosts: list[tuple[str, int]]
    hostaddrs: list[str | None]
    user: str
    database: str
    password: str | None = field(default=None, repr=False)
    #: From the password file, one per host; only where no password was given.
    passwords: list[str | None] = field(default_factory=list, repr=False)
    sslmode: str = "prefer"
    direct_tls: bool = False
    ssl_root_cert: str | None = None
    ssl_crl: str | None = None
    ssl_cert: str | None = None
    ssl_key: str | None = None
    ssl_key_password: str | None = field(default=None, repr=False)
    ssl_min_version: str | None = None
    ssl_max_version: str | None = None
    channel_binding: str = "prefer"
    require_auth: tuple[str, ...] = ()
    server_settings: dict[str, str] = field(default_factory=dict)
    target_session_attrs: str = "any"
    load_balance_hosts: bool = False
    keepalives: bool = True
    keepalives_idle: int = 0
    keepalives_interval: int = 0
    keepalives_count: int = 0
    tcp_user_timeout_ms: int = 0
    #: Seconds per host; ``None`` when the options say nothing.
    connect_timeout: float | None = None

    def native_arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of the native ``ConnectConfig``."""
        found: dict[str, Any] = {name: getattr(self, name) for name in self.__slots__}
        if self.password is not None:
            prepared = saslprep(self.password)
            if prepared != self.password:
                found["scram_password"] = prepared
        if not any(p is not None for p in self.passwords):
            found["passwords"] = None
        return found


def resolve(
    dsn: str | None = None,
    *,
    host: str | Sequence[str] | None = None,
    port: int | str | Sequence[int | str] | None = None,
    user: str | None = None,
    password: str | None = None,
    passfile: str | os.PathLike[str] | None = None,
    service: str | None = None,
    servicefile: str | os.PathLike[str] | None = None,
    database: str | None = None,
    ssl: ssl_module.SSLContext | str | bool | None = None,
    direct_tls: bool | None = None,
    server_settings: Mapping[str, str] | None = None,
    target_session_attrs: str | None = None,
    environ: Mapping[str, str] | None = None,
    home: Path | None = None,
) -> Resolved:
    """Resolve a configuration; ``environ`` and ``home`` are for tests.

    Raises ``ClientConfigurationError`` naming the option, or ``UnsupportedClientFeatureError``.
    """
    env = os.environ if environ is None else environ
    if home is None:
        home = Path(os.path.expanduser("~"))
    arguments: dict[str, str | None] = {
        "host": _joined("host", host),
        "port": _joined("port", port),
        "user": user,
        "password": password,
        "passfile": None if passfile is None else os.fspath(passfile),
        "service": service,
        "servicefile": None if servicefile is None else os.fspath(servicefile),
        "dbname": database,
        "sslnegotiation": None if direct_tls is None else "direct" if direct_tls else "postgres",
        "target_session_attrs": None if target_session_attrs is None else _enum_text(target_session_attrs),
    }
    context = ssl if isinstance(ssl, ssl_module.SSLContext) else None
    if ssl is not None and context is None:
        arguments.update(_ssl_argument(ssl))
    options = {name: value for name, value in arguments.items() if value is not None}
    in_dsn, dsn_settings = _dsn.parse_dsn(dsn) if dsn else ({}, {})
    if context is not None:
        in_dsn = {k: v for k, v in in_dsn.items() if not k.startswith("ssl") or k == "sslnegotiation"}
    _add(options, in_dsn)
    service_name = options.get("service") or env.get("PGSERVICE")
    if service_name:
        _add(options, _dsn.read_service(service_name, _service_files(options, env, home)))
    _add(options, {name: value for name, var in _VARIABLES if (value := env.get(var))})

    settings = {**dsn_settings, **_checked_settings(server_settings)}
    _session_settings(options, settings)
    _refuse_unsupported(options)
    user_name = options.get("user") or _os_user()
    hosts, addresses = _hosts(options)
    made = Resolved(
        hosts=hosts,
        hostaddrs=addresses,
        user=user_name,
        database=options.get("dbname") or user_name,
        password=options.get("password"),
        server_settings=settings,
        channel_binding=_choice(options, "channel_binding", ("disable", "prefer", "require"), "prefer"),
        require_auth=_require_auth(options.get("require_auth")),
        target_session_attrs=_choice(options, "target_session_attrs", SESSION_ATTRS, "any"),
        load_balance_hosts=_choice(options, "load_balance_hosts", ("disable", "random"), "disable")
        == "random",
        keepalives=_integer(options, "keepalives", 1) != 0,
        keepalives_idle=max(_integer(options, "keepalives_idle", 0), 0),
        keepalives_interval=max(_integer(options, "keepalives_interval", 0), 0),
        keepalives_count=max(_integer(options, "keepalives_count", 0), 0),
        tcp_user_timeout_ms=max(_integer(options, "tcp_user_timeout", 0), 0),
        connect_timeout=_connect_timeout(options),
    )
    for name, text in (("user", made.user), ("dbname", made.database), ("password", made.password or "")):
        if "\0" in text:
            raise ClientConfigurationError(f"option {name!r} contains a NUL character")
    if made.password is None:
        made.passwords = _passwords(made, options, env, home)
    if context is not None:
        _use_context(made, context, direct=options.get("sslnegotiation") == "direct")
    else:
        _tls_options(made, options, home)
    return made


def _add(options: dict[str, str], lower: Mapping[str, str]) -> None:
    for name, value in lower.items():
        # As in libpq an empty value counts as not given, except that an empty password is one.
        if value != "" or name == "password":
            options.setdefault(name, value)


def _joined(name: str, value: str | int | Sequence[str | int] | None) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (str, int, list, tuple)):
        raise ClientConfigurationError(f"option {name!r} must be text, a number or a list, not {value!r}")
    return ",".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _enum_text(value: object) -> str:
    return str(getattr(value, "value", value))


def _ssl_argument(ssl: object) -> dict[str, str]:
    if ssl is True:
        # asyncpg: the default context, that is the system's authorities and the host's name checked
        return {"sslmode": "verify-full", "sslrootcert": "system"}
    if ssl is False:
        return {"sslmode": "disable"}
    mode = getattr(ssl, "name", ssl)  # a member of an enum such as asyncpg's SSLMode
    if not isinstance(mode, str):
        raise ClientConfigurationError(f"option 'ssl' must be a bool, a mode or an SSLContext, not {ssl!r}")
    return {"sslmode": mode.replace("_", "-")}


def _service_files(options: Mapping[str, str], env: Mapping[str, str], home: Path) -> list[Path]:
    own = options.get("servicefile") or env.get("PGSERVICEFILE")
    files = [Path(own) if own else home / ".pg_service.conf"]
    files.append(Path(env.get("PGSYSCONFDIR") or "/etc/postgresql-common") / "pg_service.conf")
    return files


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise ClientConfigurationError(
            "option 'user' is not given and the operating system does not know this user's name"
        ) from None


# ---------------------------------------------------------------------------------------------- plain values
def _choice(options: Mapping[str, str], name: str, allowed: Sequence[str], default: str) -> str:
    value = options.get(name, default)
    if value not in allowed:
        raise ClientConfigurationError(
            f"invalid value {value!r} of option {name!r}: one of {', '.join(allowed)}"
        )
    return value


def _integer(options: Mapping[str, str], name: str, default: int) -> int:
    text = options.get(name)
    if text is None:
        return default
    try:
        return int(text.strip())
    except ValueError:
        raise ClientConfigurationError(f"invalid integer value {text!r} of option {name!r}") from None


def _connect_timeout(options: Mapping[str, str]) -> float | None:
    seconds = _integer(options, "connect_timeout", 0)
    if seconds <= 0:
        return None
    return float(max(seconds, 2))  # libpq: "it is not recommended to use a timeout of less than 2 seconds"


def _checked_settings(settings: Mapping[str, str] | None) -> dict[str, str]:
    if settings is None:
        return {}
    if not isinstance(settings, Mapping) or not all(
        isinstance(k, str) and isinstance(v, str) for k, v in settings.items()
    ):
        raise ClientConfigurationError("option 'server_settings' must be a dict of str to str")
    for name, value in settings.items():
        if not name or "\0" in name or "\0" in value:
            raise ClientConfigurationError(f"invalid server setting {name!r}")
    return dict(settings)


def _session_settings(options: Mapping[str, str], settings: dict[str, str]) -> None:
    encoding = options.get("client_encoding", "utf8").lower().replace("-", "").replace("_", "")
    if encoding not in ("utf8", "unicode", "auto"):
        raise ClientConfigurationError(
            f"option 'client_encoding' may only be UTF8 (text is Python's str), not {encoding!r}"
        )
    name = options.get("application_name") or options.get("fallback_application_name")
    if name:
        settings.setdefault("application_name", name)
    if options.get("options"):
        settings.setdefault("options", options["options"])
    if "\0" in "".join(settings.values()):
        raise ClientConfigurationError("a server setting contains a NUL character")


def _refuse_unsupported(options: Mapping[str, str]) -> None:
    def refuse(name: str, why: str) -> None:
        raise UnsupportedClientFeatureError(f"option {name!r} is not supported: {why}")

    if options.get("replication", "0").lower() not in ("0", "off", "no", "false"):
        refuse("replication", "this driver has no replication protocol")
    if _choice(options, "gssencmode", ("disable", "prefer", "require"), "prefer") == "require":
        refuse("gssencmode", "GSS encryption is not implemented; use TLS (sslmode)")
    for name in ("sslcrldir", "requirepeer", "oauth_issuer", "oauth_client_id"):
        if options.get(name):
            refuse(name, "not implemented")
    if options.get("sslsni", "1") == "0":
        refuse("sslsni", "the server's name is always sent")
    if _choice(options, "sslcertmode", ("disable", "allow", "require"), "allow") == "require":
        refuse("sslcertmode", "only 'allow' and 'disable'")
    for name in ("min_protocol_version", "max_protocol_version"):
        version = _choice(options, name, ("3.0", "3.2", "latest"), "3.0")
        if name.startswith("min") and version != "3.0":
            refuse(name, "protocol 3.0 is spoken")


def _require_auth(text: str | None) -> tuple[str, ...]:
    if not text:
        return ()
    wanted = [item.strip() for item in text.split(",")]
    negated = [item.startswith("!") for item in wanted]
    names = [item.removeprefix("!") for item in wanted]
    for name in names:
        if name not in AUTH_METHODS and name not in _OTHER_AUTH_METHODS:
            raise ClientConfigurationError(f"invalid value {name!r} of option 'require_auth'")
    if len(set(names)) != len(names):
        raise ClientConfigurationError("option 'require_auth' names a method twice")
    if any(negated) and not all(negated):
        raise ClientConfigurationError("option 'require_auth' mixes negated and plain methods")
    if all(negated):
        return tuple(m for m in AUTH_METHODS if m not in names)
    known = tuple(m for m in AUTH_METHODS if m in names)
    if not known:
        raise UnsupportedClientFeatureError(
            f"option 'require_auth' allows only {text!r}, which is not implemented"
        )
    return known


# ---------------------------------------------------------------------------------------------------- hosts
def _hosts(options: Mapping[str, str]) -> tuple[list[tuple[str, int]], list[str | None]]:
    names = options["host"].split(",") if options.get("host") else []
    addresses: list[str] = options["hostaddr"].split(",") if options.get("hostaddr") else []
    if names and addresses and len(names) != len(addresses):
        raise ClientConfigurationError(
            f"could not match {len(names)} host names of 'host' to {len(addresses)} values of 'hostaddr'"
        )
    ports = _ports(options.get("port"))
    count = len(names) or len(addresses)
    if not count:
        if len(ports) != 1:
            raise ClientConfigurationError(f"option 'port' has {len(ports)} values, but 'host' is not given")
        found = [(name, ports[0]) for name in _default_hosts(ports[0])]
        return found, [None] * len(found)
    if len(ports) == 1:
        ports *= count
    elif len(ports) != count:
        raise ClientConfigurationError(f"could not match {len(ports)} values of 'port' to {count} hosts")
    hosts: list[tuple[str, int]] = []
    hostaddrs: list[str | None] = []
    for at in range(count):
        address = addresses[at] if addresses else ""
        name = names[at] if names else ""
        if name.startswith("/") and "/.s.PGSQL." in name:  # asyncpg takes the socket's full path too
            name, _, tail = name.rpartition("/.s.PGSQL.")
            ports[at] = _ports(tail)[0]
        if name or address:
            hosts.append((name or address, ports[at]))
            hostaddrs.append(address or None)
        else:
            for default in _default_hosts(ports[at]):
                hosts.append((default, ports[at]))
                hostaddrs.append(None)
    return hosts, hostaddrs


def _ports(text: str | None) -> list[int]:
    ports: list[int] = []
    for item in (text or "").split(","):
        try:
            port = int(item) if item.strip() else DEFAULT_PORT
        except ValueError:
            raise ClientConfigurationError(f"invalid value {item!r} of option 'port'") from None
        if not 1 <= port <= 65535:
            raise ClientConfigurationError(f"option 'port' must be 1 to 65535, not {port}")
        ports.append(port)
    return ports


def _default_hosts(port: int) -> list[str]:
    present = [d for d in _SOCKET_DIRECTORIES if os.path.exists(f"{d}/.s.PGSQL.{port}")]
    if len(present) > 1 and os.path.realpath(present[0]) == os.path.realpath(present[1]):
        del present[1]
    return [*present, "localhost"]


def is_unix(host: str) -> bool:
    """Whether a host names the directory of a unix socket (``@``: in the abstract name space)."""
    return host.startswith(("/", "@"))


# ------------------------------------------------------------------------------------------------- passwords
def _passwords(
    made: Resolved, options: Mapping[str, str], env: Mapping[str, str], home: Path
) -> list[str | None]:
    passfile = Path(options.get("passfile") or home / ".pgpass")
    found: list[str | None] = []
    for at, (host, port) in enumerate(made.hosts):
        # libpq looks up the default socket directory as "localhost"; which directory is the default depends
        # on how libpq was built, so every socket answers to it, as with asyncpg.
        names = (host, "localhost") if is_unix(host) else (host,)
        found.append(
            _dsn.find_password(
                passfile, hosts=names, port=port, dbname=made.database, user=made.user, warn=at == 0
            )
        )
    return found


def saslprep(password: str) -> str:
    """RFC 4013: the form of a password that SCRAM hashes; text that it prohibits stays as it is (as in
    libpq).
    """
    if password.isascii():
        return password
    mapped = "".join(
        " " if stringprep.in_table_c12(c) else "" if stringprep.in_table_b1(c) else c for c in password
    )
    text = unicodedata.ucd_3_2_0.normalize("NFKC", mapped)
    if not text:
        return password
    prohibited = (
        stringprep.in_table_c12,
        stringprep.in_table_c21_c22,
        stringprep.in_table_c3,
        stringprep.in_table_c4,
        stringprep.in_table_c5,
        stringprep.in_table_c6,
        stringprep.in_table_c7,
        stringprep.in_table_c8,
        stringprep.in_table_c9,
        stringprep.in_table_a1,
    )
    if any(test(c) for c in text for test in prohibited):
        return password
    # RFC 3454 section 6: right-to-left text begins and ends so and holds no left-to-right character.
    if any(map(stringprep.in_table_d1, text)) and (
        any(map(stringprep.in_table_d2, text))
        or not stringprep.in_table_d1(text[0])
        or not stringprep.in_table_d1(text[-1])
    ):
        return password
    return text


# ------------------------------------------------------------------------------------------------------- TLS
def _tls_options(made: Resolved, options: dict[str, str], home: Path) -> None:
    root = options.get("sslrootcert")
    mode = options.get("sslmode")
    if mode is None and options.get("requiressl") == "1":
        mode = "require"
    if root == "system":
        mode = mode or "verify-full"
        if mode != "verify-full":
            raise ClientConfigurationError(
                f"weak sslmode {mode!r} may not be used with sslrootcert=system (use 'verify-full')"
            )
    made.sslmode = _choice({"sslmode": mode} if mode else {}, "sslmode", SSL_MODES, "prefer")
    negotiation = _choice(options, "sslnegotiation", ("postgres", "direct"), "postgres")
    only_unix = all(is_unix(host) for host, _ in made.hosts)
    made.direct_tls = negotiation == "direct"
    if made.direct_tls and made.sslmode in ("disable", "allow", "prefer"):
        raise ClientConfigurationError(
            f"weak sslmode {made.sslmode!r} may not be used with sslnegotiation=direct "
            "(use 'require', 'verify-ca', or 'verify-full')"
        )
    made.ssl_min_version = _tls_version(options, "ssl_min_protocol_version", "TLSv1.2")
    made.ssl_max_version = _tls_version(options, "ssl_max_protocol_version", None)
    if made.ssl_max_version and made.ssl_min_version and made.ssl_min_version > made.ssl_max_version:
        raise ClientConfigurationError(
            "option 'ssl_min_protocol_version' is higher than 'ssl_max_protocol_version'"
        )
    if made.sslmode == "disable" or only_unix:
        return
    folder = home / ".postgresql"
    _root_certificate(made, root, folder)
    crl = options.get("sslcrl") or str(folder / "root.crl")
    if os.path.exists(crl):
        made.ssl_crl = crl
    elif options.get("sslcrl"):
        raise ClientConfigurationError(f"file {crl!r} of option 'sslcrl' does not exist")
    if options.get("sslcertmode") != "disable":
        _client_certificate(made, options, folder)


def _tls_version(options: Mapping[str, str], name: str, default: str | None) -> str | None:
    text = options.get(name)
    if text is None:
        return default
    if text.lower() not in _TLS_VERSIONS:
        raise ClientConfigurationError(
            f"invalid value {text!r} of option {name!r}: one of {', '.join(_TLS_VERSIONS.values())}"
        )
    return _TLS_VERSIONS[text.lower()]


def _root_certificate(made: Resolved, root: str | None, folder: Path) -> None:
    if root == "system":
        made.ssl_root_cert = root
        return
    path = root or str(folder / "root.crt")
    verifies = made.sslmode in ("verify-ca", "verify-full")
    if os.path.exists(path):
        made.ssl_root_cert = path
        if made.sslmode == "require":
            made.sslmode = "verify-ca"  # libpq: with a root certificate 'require' verifies too
    elif root is not None or verifies:
        raise ClientConfigurationError(
            f"root certificate file {path!r} (option 'sslrootcert') does not exist; provide it, use "
            "sslrootcert=system for the system's authorities, or change sslmode to do without verification"
        )


def _client_certificate(made: Resolved, options: Mapping[str, str], folder: Path) -> None:
    cert = options.get("sslcert") or str(folder / "postgresql.crt")
    if not os.path.exists(cert):
        if options.get("sslcert"):
            raise ClientConfigurationError(f"file {cert!r} of option 'sslcert' does not exist")
        return
    key = options.get("sslkey") or str(folder / "postgresql.key")
    try:
        status = os.stat(key)
    except OSError:
        raise ClientConfigurationError(
            f"certificate {cert!r} present, but not its private key {key!r} (option 'sslkey')"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise ClientConfigurationError(f"private key file {key!r} (option 'sslkey') is not a regular file")
    loose = stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP | (0 if status.st_uid == 0 else stat.S_IRGRP)
    if status.st_mode & loose:
        raise ClientConfigurationError(
            f"private key file {key!r} (option 'sslkey') has group or world access; it must have permissions "
            "u=rw (0600) or less, or u=rw,g=r (0640) or less if owned by root"
        )
    made.ssl_cert, made.ssl_key = cert, key
    made.ssl_key_password = options.get("sslpassword")


def _use_context(made: Resolved, context: ssl_module.SSLContext, *, direct: bool) -> None:
    """Carry over what an ``SSLContext`` can tell: modes, authorities, versions. It keeps its keys to
    itself.
    """
    made.direct_tls = direct
    if context.verify_mode == ssl_module.CERT_NONE:
        made.sslmode = "require"
    else:
        made.sslmode = "verify-full" if context.check_hostname else "verify-ca"
        authorities = context.get_ca_certs(binary_form=True)
        if authorities:
            made.ssl_root_cert = _write_authorities(authorities)
        else:
            made.ssl_root_cert = "system"
    low, high = context.minimum_version, context.maximum_version
    names = {
        ssl_module.TLSVersion.TLSv1_2: "TLSv1.2",
        ssl_module.TLSVersion.TLSv1_3: "TLSv1.3",
    }
    made.ssl_min_version = names.get(low, "TLSv1.2")
    made.ssl_max_version = names.get(high)


_authority_files: dict[tuple[bytes, ...], str] = {}


def _write_authorities(certificates: Sequence[bytes]) -> str:
    """Write DER certificates to a PEM file that lives as long as the process; equal ones share it."""
    key = tuple(certificates)
    path = _authority_files.get(key)
    if path is None:
        handle, path = tempfile.mkstemp(prefix="fasterapi-pg-", suffix=".pem")
        with open(handle, "w", encoding="ascii") as file:
            file.write("".join(map(ssl_module.DER_cert_to_PEM_cert, certificates)))
        _authority_files[key] = path
        atexit.register(_remove, path)
    return path


def _remove(path: str) -> None:
    with contextlib.suppress(OSError):
        os.unlink(path)
