"""Syntax of libpq connection strings, password files and service files: text in, dictionaries out.

Nothing here knows defaults or precedence (see ``_config``). Errors are ``ClientConfigurationError`` and name
the option or the place; they never repeat a password.
"""

from __future__ import annotations

import difflib
import os
import re
import stat
import warnings
from pathlib import Path
from urllib.parse import unquote_to_bytes

from .exceptions import ClientConfigurationError, InterfaceWarning

# Options of libpq (documentation, "Parameter Key Words") and the environment variable of each.
OPTIONS: dict[str, str | None] = {
    "service": "PGSERVICE",
    "servicefile": "PGSERVICEFILE",
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "dbname": "PGDATABASE",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "require_auth": "PGREQUIREAUTH",
    "channel_binding": "PGCHANNELBINDING",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "client_encoding": "PGCLIENTENCODING",
    "options": "PGOPTIONS",
    "application_name": "PGAPPNAME",
    "fallback_application_name": None,
    "keepalives": None,
    "keepalives_idle": None,
    "keepalives_interval": None,
    "keepalives_count": None,
    "tcp_user_timeout": None,
    "replication": None,
    "gssencmode": "PGGSSENCMODE",
    "sslmode": "PGSSLMODE",
    "requiressl": "PGREQUIRESSL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "sslcompression": "PGSSLCOMPRESSION",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslpassword": None,
    "sslcertmode": "PGSSLCERTMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslcrldir": "PGSSLCRLDIR",
    "sslsni": "PGSSLSNI",
    "requirepeer": "PGREQUIREPEER",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
    "min_protocol_version": "PGMINPROTOCOLVERSION",
    "max_protocol_version": "PGMAXPROTOCOLVERSION",
    "krbsrvname": "PGKRBSRVNAME",
    "gsslib": "PGGSSLIB",
    "gssdelegation": "PGGSSDELEGATION",
    "target_session_attrs": "PGTARGETSESSIONATTRS",
    "load_balance_hosts": "PGLOADBALANCEHOSTS",
    "oauth_issuer": None,
    "oauth_client_id": None,
    "oauth_client_secret": None,
    "oauth_scope": None,
}
# Spellings that other drivers take in a URI.
_ALIASES = {"database": "dbname", "db": "dbname", "username": "user", "pass": "password"}

_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*\Z")
_URI_PREFIX = ("postgresql://", "postgres://")


def parse_dsn(dsn: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the options of a connection string and the server settings that stood among them.

    Both of libpq's forms are read: ``postgresql://user:secret@host:5432/db?option=value`` and
    ``host=... port=...``. Only a URI may carry server settings (as asyncpg has it).
    """
    if "\0" in dsn:
        raise ClientConfigurationError("the connection string contains a NUL character")
    if dsn.startswith(_URI_PREFIX):
        return _parse_uri(dsn)
    if "://" in dsn.split("=", 1)[0]:
        scheme = dsn.split("://", 1)[0]
        raise ClientConfigurationError(
            f"invalid connection string: scheme must be 'postgresql' or 'postgres', not {scheme!r}"
        )
    return _parse_pairs(dsn), {}


def check_option(name: str, where: str) -> str:
    """Return the option's canonical name; the error for an unknown one offers what was probably meant."""
    if name in OPTIONS:
        return name
    raise ClientConfigurationError(f"unknown connection option {name!r} in {where}{_did_you_mean(name)}")


def _did_you_mean(name: str, cutoff: float = 0.7) -> str:
    close = difflib.get_close_matches(name, OPTIONS, n=1, cutoff=cutoff)
    return f"; did you mean {close[0]!r}?" if close else ""


# ---------------------------------------------------------------------------------------- key=value form
def _parse_pairs(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at, end = 0, len(text)
    while True:
        while at < end and text[at].isspace():
            at += 1
        if at == end:
            return found
        start = at
        while at < end and text[at] != "=" and not text[at].isspace():
            at += 1
        name = text[start:at]
        while at < end and text[at].isspace():
            at += 1
        if at == end or text[at] != "=" or not name:
            raise ClientConfigurationError(
                f"missing '=' after {name!r} in the connection string"
                if name
                else "missing option name before '=' in the connection string"
            )
        at += 1
        while at < end and text[at].isspace():
            at += 1
        value, at = _pair_value(text, at, name)
        found[check_option(name, "the connection string")] = value


def _pair_value(text: str, at: int, name: str) -> tuple[str, int]:
    end = len(text)
    quoted = at < end and text[at] == "'"
    if quoted:
        at += 1
    out: list[str] = []
    while at < end:
        char = text[at]
        if char == "\\" and at + 1 < end:
            out.append(text[at + 1])
            at += 2
            continue
        if quoted and char == "'":
            return "".join(out), at + 1
        if not quoted and char.isspace():
            break
        if char != "\\":  # a backslash at the very end escapes nothing
            out.append(char)
        at += 1
    if quoted:
        raise ClientConfigurationError(f"unterminated quoted value of {name!r} in the connection string")
    return "".join(out), at


# ----------------------------------------------------------------------------------------------- URI form
def _unquote(text: str, what: str) -> str:
    if "%" not in text:
        return text
    for match in re.finditer(r"%(..)?", text, re.DOTALL):
        digits = match.group(1)
        if digits is None or not re.fullmatch(r"[0-9A-Fa-f]{2}", digits):
            raise ClientConfigurationError(f"invalid percent-encoding in {what} of the connection URI")
        if digits == "00":
            raise ClientConfigurationError(f"forbidden value %00 in {what} of the connection URI")
    try:
        return unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise ClientConfigurationError(f"{what} of the connection URI is not UTF-8 after decoding") from None


def _parse_uri(uri: str) -> tuple[dict[str, str], dict[str, str]]:
    rest = uri.split("://", 1)[1]
    found: dict[str, str] = {}
    rest, question, query = rest.partition("?")
    netloc, slash, dbname = rest.partition("/")
    if "@" in netloc:
        # libpq ends the user part at the first '@'; passwords that hold one raw are common, so the last wins.
        userinfo, _, netloc = netloc.rpartition("@")
        user, colon, password = userinfo.partition(":")
        if user:
            found["user"] = _unquote(user, "user")
        if colon:
            found["password"] = _unquote(password, "password")
    hosts, ports = _uri_hosts(netloc)
    if any(hosts):
        found["host"] = ",".join(hosts)
    if any(ports):
        found["port"] = ",".join(ports)
    if slash and dbname:
        found["dbname"] = _unquote(dbname, "dbname")
    settings: dict[str, str] = {}
    if question:
        _uri_query(query, found, settings)
    return found, settings


def _uri_hosts(netloc: str) -> tuple[list[str], list[str]]:
    hosts: list[str] = []
    ports: list[str] = []
    for part in netloc.split(",") if netloc else []:
        if part.startswith("["):
            address, bracket, tail = part[1:].partition("]")
            if not bracket:
                raise ClientConfigurationError("missing ']' after an IPv6 address in the connection URI")
            if not address:
                raise ClientConfigurationError("an IPv6 address of the connection URI is empty")
            if tail and not tail.startswith(":"):
                raise ClientConfigurationError("unexpected text after ']' in the connection URI")
            host, port = address, tail[1:]
        else:
            host, _, port = part.partition(":")
            if ":" in port:
                raise ClientConfigurationError(
                    "an IPv6 address in the connection URI must stand in brackets, or a ':' in the user or "
                    "password must be written %3A"
                )
        hosts.append(_unquote(host, "host"))
        ports.append(_unquote(port, "port"))
    return hosts, ports


def _uri_query(query: str, found: dict[str, str], settings: dict[str, str]) -> None:
    for item in query.split("&"):
        if not item:
            continue
        raw_name, equals, raw_value = item.partition("=")
        if not equals or not raw_name or "=" in raw_value:
            problem = "extra" if equals and raw_name else "missing"
            raise ClientConfigurationError(f"{problem} '=' in query item {raw_name!r} of the connection URI")
        name = _unquote(raw_name, "an option name")
        value = _unquote(raw_value, name)
        name = _ALIASES.get(name, name)
        if name == "ssl":
            # As JDBC writes it; libpq reads ssl=true the same way.
            if value != "true":
                raise ClientConfigurationError(
                    "option 'ssl' of the connection URI may only be 'true'; use sslmode"
                )
            name, value = "sslmode", "require"
        if name in OPTIONS:
            found[name] = value
        elif _did_you_mean(name, 0.91) or not _SETTING_NAME.match(name):
            check_option(name, "the connection URI")
        else:
            settings[name] = value


# ------------------------------------------------------------------------------------------ password file
def find_password(
    passfile: Path, *, hosts: tuple[str, ...], port: int, dbname: str, user: str, warn: bool = True
) -> str | None:
    """Return the password of the first line that matches one of ``hosts``, or ``None``.

    A file that others may read is ignored with an ``InterfaceWarning``, as libpq does.
    """
    try:
        status = passfile.stat()
    except (OSError, ValueError):
        return None
    if not stat.S_ISREG(status.st_mode):
        if warn:
            warnings.warn(
                f"password file {str(passfile)!r} is not a plain file", InterfaceWarning, stacklevel=2
            )
        return None
    if os.name == "posix" and status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        if warn:
            warnings.warn(
                f"password file {str(passfile)!r} has group or world access; permissions should be u=rw "
                "(0600) or less; it is ignored",
                InterfaceWarning,
                stacklevel=2,
            )
        return None
    try:
        lines = passfile.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return None
    for line in lines:
        if line.startswith("#"):
            continue
        fields = _passfile_fields(line)
        if len(fields) < 5:
            continue
        host, in_port, in_dbname, in_user, password = fields[:5]
        if (
            (host == _ANY or host in hosts)
            and in_port in (_ANY, str(port))
            and in_dbname in (_ANY, dbname)
            and in_user in (_ANY, user)
        ):
            return str(password)
    return None


class _Any(str):
    """A lone unescaped ``*``; written ``\\*`` it means itself."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return 0


_ANY = _Any("*")


def _passfile_fields(line: str) -> list[str]:
    fields: list[str] = []
    current: list[str] = []
    escaped = False
    raw_star = False
    for char in line:
        if escaped:
            current.append(char)
            escaped = False
        elif char == "\\":
            escaped = True
        elif char == ":" and len(fields) < 4:
            fields.append(_ANY if raw_star and current == ["*"] else "".join(current))
            current, raw_star = [], False
        else:
            raw_star = raw_star or char == "*"
            current.append(char)
    fields.append("".join(current))
    return fields


# ------------------------------------------------------------------------------------------ service files
def read_service(name: str, files: list[Path]) -> dict[str, str]:
    """Return the options of service ``name`` from the first of ``files`` that defines it."""
    for path in files:
        try:
            text = path.read_text(encoding="utf-8")
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError) as error:
            raise ClientConfigurationError(f"cannot read service file {str(path)!r}: {error}") from error
        options = _service_section(text, name, path)
        if options is not None:
            return options
    places = ", ".join(str(p) for p in files) or "no service file"
    raise ClientConfigurationError(f"definition of service {name!r} not found (looked in {places})")


def _service_section(text: str, name: str, path: Path) -> dict[str, str] | None:
    found: dict[str, str] | None = None
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            if found is not None:
                break
            if line == f"[{name}]":
                found = {}
            continue
        if found is None:
            continue
        key, equals, value = line.partition("=")
        where = f"service file {str(path)!r}, line {number}"
        if not equals:
            raise ClientConfigurationError(f"missing '=' in {where}")
        key = key.strip()
        if key in ("service", "servicefile"):
            raise ClientConfigurationError(f"nested {key!r} is not supported in {where}")
        # libpq takes the first of two equal keys.
        found.setdefault(check_option(key, where), value.strip())
    return found
