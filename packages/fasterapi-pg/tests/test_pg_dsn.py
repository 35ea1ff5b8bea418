"""Connection strings, arguments, environment, service and password files: a table of inputs and results."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Any

import pytest
from fasterapi_pg import _config, _dsn
from fasterapi_pg.exceptions import ClientConfigurationError, InterfaceWarning, UnsupportedClientFeatureError


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path


def resolve(
    dsn: str | None = None, *, env: dict[str, str] | None = None, home: Path, **arguments: Any
) -> Any:
    return _config.resolve(dsn, environ=env or {}, home=home, **arguments)


HOST = [("localhost", 5432)]
URI: list[tuple[str, dict[str, Any]]] = [
    ("postgresql://u@localhost/d", {"hosts": HOST, "user": "u", "database": "d", "password": None}),
    ("postgres://u@localhost/d", {"hosts": HOST, "user": "u"}),
    ("postgresql://u@localhost", {"database": "u"}),
    ("postgresql://u:p@localhost:6432/d", {"hosts": [("localhost", 6432)], "password": "p"}),
    ("postgresql://u:@localhost/d", {"password": ""}),
    ("postgresql://u%40x:p%3A%2F%20@localhost/a%2Fb", {"user": "u@x", "password": "p:/ ", "database": "a/b"}),
    ("postgresql://u:p@ss@localhost/d", {"user": "u", "password": "p@ss"}),
    ("postgresql://u@h1,h2:7,h3/d", {"hosts": [("h1", 5432), ("h2", 7), ("h3", 5432)]}),
    ("postgresql://u@h1:1,h2:2/d", {"hosts": [("h1", 1), ("h2", 2)]}),
    ("postgresql://u@[::1]:6/d", {"hosts": [("::1", 6)]}),
    ("postgresql://u@[fe80::1%25lo],h/d", {"hosts": [("fe80::1%lo", 5432), ("h", 5432)]}),
    ("postgresql://u@%2Ftmp%2Fs/d", {"hosts": [("/tmp/s", 5432)]}),
    ("postgresql://u@/d?host=/tmp/s&port=99", {"hosts": [("/tmp/s", 99)]}),
    ("postgresql:///d?user=u&host=h1,h2&port=1,2", {"hosts": [("h1", 1), ("h2", 2)], "user": "u"}),
    ("postgresql://u@/d?host=/tmp/s/.s.PGSQL.77", {"hosts": [("/tmp/s", 77)]}),
    ("postgresql://u@/d?host=@abstract", {"hosts": [("@abstract", 5432)]}),
    ("postgresql://u@h/d?hostaddr=10.0.0.1", {"hosts": [("h", 5432)], "hostaddrs": ["10.0.0.1"]}),
    ("postgresql://u@/d?hostaddr=10.0.0.1,10.0.0.2", {"hosts": [("10.0.0.1", 5432), ("10.0.0.2", 5432)]}),
    ("postgresql://u@h/d?password=q&user=v", {"user": "v", "password": "q"}),
    ("postgresql://u@h/d?sslmode=disable", {"sslmode": "disable"}),
    ("postgresql://u@h/d?ssl=true", {"sslmode": "require"}),
    ("postgresql://u@h/d", {"sslmode": "prefer", "direct_tls": False, "channel_binding": "prefer"}),
    ("postgresql://u@h/d?sslmode=require&sslnegotiation=direct", {"sslmode": "require", "direct_tls": True}),
    ("postgresql://u@h/d?sslrootcert=system", {"sslmode": "verify-full", "ssl_root_cert": "system"}),
    ("postgresql://u@h/d?ssl_min_protocol_version=TLSv1.3", {"ssl_min_version": "TLSv1.3"}),
    ("postgresql://u@h/d?channel_binding=require", {"channel_binding": "require"}),
    ("postgresql://u@h/d?require_auth=scram-sha-256,md5", {"require_auth": ("md5", "scram-sha-256")}),
    ("postgresql://u@h/d?require_auth=!password,!none", {"require_auth": ("md5", "scram-sha-256")}),
    ("postgresql://u@h/d?target_session_attrs=standby", {"target_session_attrs": "standby"}),
    ("postgresql://u@h/d?load_balance_hosts=random", {"load_balance_hosts": True}),
    ("postgresql://u@h/d?connect_timeout=7", {"connect_timeout": 7.0}),
    ("postgresql://u@h/d?connect_timeout=1", {"connect_timeout": 2.0}),
    ("postgresql://u@h/d?connect_timeout=0", {"connect_timeout": None}),
    ("postgresql://u@h/d?keepalives=0&keepalives_idle=9&tcp_user_timeout=500", {
        "keepalives": False, "keepalives_idle": 9, "tcp_user_timeout_ms": 500}),
    ("postgresql://u@h/d?application_name=a%20b", {"server_settings": {"application_name": "a b"}}),
    ("postgresql://u@h/d?fallback_application_name=f", {"server_settings": {"application_name": "f"}}),
    ("postgresql://u@h/d?options=-c%20geqo%3Doff", {"server_settings": {"options": "-c geqo=off"}}),
    ("postgresql://u@h/d?search_path=s&my.flag=1", {"server_settings": {"search_path": "s", "my.flag": "1"}}),
    ("postgresql://u@h/d?client_encoding=utf-8", {"server_settings": {}}),
    ("postgresql://u@h/d?gssencmode=prefer&max_protocol_version=latest&", {}),
]  # fmt: skip


@pytest.mark.parametrize(("dsn", "expected"), URI, ids=[d for d, _ in URI])
def test_uri_gives(dsn: str, expected: dict[str, Any], home: Path) -> None:
    made = resolve(dsn, home=home)
    assert {name: getattr(made, name) for name in expected} == expected


PAIRS: list[tuple[str, dict[str, Any]]] = [
    ("host=h user=u dbname=d port=6", {"hosts": [("h", 6)], "user": "u", "database": "d"}),
    ("  host = h   user= u ", {"hosts": [("h", 5432)], "user": "u", "database": "u"}),
    ("host=h user='a b' password='it\\'s'", {"user": "a b", "password": "it's"}),
    (r"host=h user=a\ b password='back\\slash'", {"user": "a b", "password": "back\\slash"}),
    ("host=h user=u password=''", {"password": ""}),
    ("host='' user=u hostaddr=1.2.3.4", {"hosts": [("1.2.3.4", 5432)], "hostaddrs": ["1.2.3.4"]}),
    ("host=a,b port=1,2 user=u", {"hosts": [("a", 1), ("b", 2)]}),
    ("host=a,b port=7 user=u", {"hosts": [("a", 7), ("b", 7)]}),
    ("host=a,b port=,2 user=u", {"hosts": [("a", 5432), ("b", 2)]}),
    ("host=a user=u user=v", {"user": "v"}),
    ("host=h user=u application_name='x=y'", {"server_settings": {"application_name": "x=y"}}),
]


@pytest.mark.parametrize(("dsn", "expected"), PAIRS, ids=[d for d, _ in PAIRS])
def test_pairs_give(dsn: str, expected: dict[str, Any], home: Path) -> None:
    made = resolve(dsn, home=home)
    assert {name: getattr(made, name) for name in expected} == expected


ERRORS = [
    ("mysql://u@h/d", "scheme must be 'postgresql'"),
    ("postgresql://u@h/d?nonsense", "'nonsense'"),
    ("postgresql://u@h/d?a=b=c", "extra '='"),
    ("postgresql://u@h/d?sslmod=require", "did you mean 'sslmode'"),
    ("postgresql://u@h/d?sslmode=maybe", "'sslmode'"),
    ("postgresql://u@h/d?ssl=1", "'ssl'"),
    ("postgresql://u%zz@h/d", "percent-encoding in user"),
    ("postgresql://u%00@h/d", "%00 in user"),
    ("postgresql://u%ff@h/d", "user"),
    ("postgresql://u@[::1/d", "']'"),
    ("postgresql://u@[]/d", "IPv6"),
    ("postgresql://u@[::1]x/d", "']'"),
    ("postgresql://u@::1/d", "brackets"),
    ("postgresql://u@h:notaport/d", "'port'"),
    ("postgresql://u@h:0/d", "'port'"),
    ("postgresql://u@h:65536/d", "'port'"),
    ("postgresql://u@h/d?host=a,b&port=1,2,3", "'port'"),
    ("postgresql://u@/d?host=a,b&hostaddr=1.1.1.1", "'hostaddr'"),
    ("postgresql://u@/d?port=1,2", "'port'"),
    ("postgresql://u@h/d?sslmode=prefer&sslnegotiation=direct", "sslnegotiation=direct"),
    ("postgresql://u@h/d?sslmode=require&sslrootcert=system", "weak sslmode"),
    ("postgresql://u@h/d?sslmode=verify-full", "'sslrootcert'"),
    ("postgresql://u@h/d?sslcert=/nonexistent.crt", "'sslcert'"),
    ("postgresql://u@h/d?sslcrl=/nonexistent.crl", "'sslcrl'"),
    ("postgresql://u@h/d?ssl_min_protocol_version=SSLv3", "'ssl_min_protocol_version'"),
    (
        "postgresql://u@h/d?ssl_min_protocol_version=TLSv1.3&ssl_max_protocol_version=TLSv1.2",
        "is higher than",
    ),
    ("postgresql://u@h/d?channel_binding=yes", "'channel_binding'"),
    ("postgresql://u@h/d?require_auth=bogus", "'require_auth'"),
    ("postgresql://u@h/d?require_auth=md5,!password", "mixes"),
    ("postgresql://u@h/d?require_auth=md5,md5", "twice"),
    ("postgresql://u@h/d?target_session_attrs=master", "'target_session_attrs'"),
    ("postgresql://u@h/d?load_balance_hosts=yes", "'load_balance_hosts'"),
    ("postgresql://u@h/d?connect_timeout=soon", "'connect_timeout'"),
    ("postgresql://u@h/d?client_encoding=latin1", "'client_encoding'"),
    ("host", "missing '=' after 'host'"),
    ("host = h user", "missing '=' after 'user'"),
    ("= x", "missing option name"),
    ("host='h", "unterminated quoted value of 'host'"),
    ("hots=h", "did you mean 'host'"),
    ("search_path=x", "unknown connection option 'search_path'"),
    ("host=\0", "NUL"),
    ("postgresql://u@h/d?service=missing", "'missing'"),
]


@pytest.mark.parametrize(("dsn", "text"), ERRORS, ids=[d for d, _ in ERRORS])
def test_error_names_the_option(dsn: str, text: str, home: Path) -> None:
    with pytest.raises(ClientConfigurationError, match="(?s).*") as caught:
        resolve(dsn, home=home)
    assert text in str(caught.value)
    assert isinstance(caught.value, ValueError)
    assert caught.value.code == "pg.configuration"


UNSUPPORTED = [
    "replication=database",
    "gssencmode=require",
    "sslcrldir=/tmp",
    "requirepeer=postgres",
    "sslsni=0",
    "sslcertmode=require",
    "min_protocol_version=3.2",
    "require_auth=gss",
    "oauth_issuer=https://x",
]


@pytest.mark.parametrize("option", UNSUPPORTED)
def test_option_that_is_not_implemented_is_refused(option: str, home: Path) -> None:
    with pytest.raises(UnsupportedClientFeatureError, match=option.split("=", maxsplit=1)[0]):
        resolve(f"host=h user=u {option}", home=home)


def test_errors_never_repeat_a_password(home: Path) -> None:
    for dsn in ("postgresql://u:hunter2@::1/d", "postgresql://u:hunter2@h:x/d", "host=h password=hunter2 x"):
        with pytest.raises(ClientConfigurationError) as caught:
            resolve(dsn, home=home)
        assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(resolve("postgresql://u:hunter2@h/d", home=home))


# ---------------------------------------------------------------------------------------------- precedence
def write_service(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_arguments_beat_dsn_beats_service_beats_environment_beats_defaults(home: Path) -> None:
    write_service(
        home / ".pg_service.conf", "[s]\nhost=from-service\nport=2\nuser=from-service\ndbname=from-service\n"
    )
    env = {
        "PGHOST": "from-env",
        "PGPORT": "3",
        "PGUSER": "from-env",
        "PGDATABASE": "from-env",
        "PGAPPNAME": "e",
    }
    made = resolve("postgresql://from-dsn@/?service=s", env=env, home=home, database="from-argument")
    assert made.hosts == [("from-service", 2)]
    assert (made.user, made.database) == ("from-dsn", "from-argument")
    assert made.server_settings == {"application_name": "e"}
    assert made.sslmode == "prefer"


def test_environment_alone_is_enough(home: Path) -> None:
    env = {
        "PGHOST": "h1,h2", "PGPORT": "1,2", "PGUSER": "u", "PGPASSWORD": "p", "PGDATABASE": "d", "PGSSLMODE": "allow",
        "PGAPPNAME": "app", "PGOPTIONS": "-c geqo=off", "PGTARGETSESSIONATTRS": "read-write",
        "PGCONNECT_TIMEOUT": "9", "PGREQUIREAUTH": "md5", "PGCHANNELBINDING": "disable",
    }  # fmt: skip
    made = resolve(env=env, home=home)
    assert made.hosts == [("h1", 1), ("h2", 2)]
    assert (made.user, made.password, made.database, made.sslmode) == ("u", "p", "d", "allow")
    assert made.server_settings == {"application_name": "app", "options": "-c geqo=off"}
    assert (made.target_session_attrs, made.connect_timeout) == ("read-write", 9.0)
    assert (made.require_auth, made.channel_binding) == (("md5",), "disable")


def test_empty_values_count_as_not_given(home: Path) -> None:
    made = resolve(
        "postgresql://u@h/d?sslmode=&port=", env={"PGSSLMODE": "disable", "PGPORT": "77"}, home=home
    )
    assert made.sslmode == "disable"
    assert made.hosts == [("h", 77)]


def test_server_settings_argument_wins_over_dsn_and_environment(home: Path) -> None:
    made = resolve(
        "postgresql://u@h/d?application_name=dsn&search_path=x",
        env={"PGAPPNAME": "env"},
        home=home,
        server_settings={"application_name": "argument", "jit": "off"},
    )
    assert made.server_settings == {"application_name": "argument", "search_path": "x", "jit": "off"}


@pytest.mark.parametrize("bad", [{"a": 1}, ["a"], {"": "x"}, {"a\0": "x"}])
def test_server_settings_must_be_text(bad: Any, home: Path) -> None:
    with pytest.raises(ClientConfigurationError, match="setting"):
        resolve("postgresql://u@h/d", home=home, server_settings=bad)


def test_host_and_port_arguments_take_lists(home: Path) -> None:
    assert resolve(host=["a", "b"], port=[1, 2], user="u", home=home).hosts == [("a", 1), ("b", 2)]
    assert resolve(host=("a", "b"), port=9, user="u", home=home).hosts == [("a", 9), ("b", 9)]
    assert resolve(host="a,b", port="3,4", user="u", home=home).hosts == [("a", 3), ("b", 4)]
    with pytest.raises(ClientConfigurationError, match="'port'"):
        resolve(host="h", port=True, user="u", home=home)


def test_default_user_is_the_operating_systems_and_names_the_database(home: Path) -> None:
    import getpass

    made = resolve("host=h", home=home)
    assert made.user == made.database == getpass.getuser()


def test_without_host_a_present_socket_is_tried_before_localhost(home: Path) -> None:
    hosts = resolve("user=u port=59999", home=home).hosts
    assert hosts[-1] == ("localhost", 59999)


# ------------------------------------------------------------------------------------------------ services
def test_service_from_environment_and_own_file(home: Path) -> None:
    path = write_service(
        home / "services",
        "# comment\n[other]\nhost=wrong\n\n[mine]\nhost=h\nhost=second-is-ignored\n password = se cret \nuser=u\n[z]\nuser=z\n",
    )
    made = resolve(env={"PGSERVICE": "mine", "PGSERVICEFILE": str(path)}, home=home)
    assert (made.hosts, made.user, made.password) == ([("h", 5432)], "u", "se cret")
    made = resolve(service="z", servicefile=path, host="h", home=home)
    assert made.user == "z"


def test_system_service_file_is_the_second_choice(home: Path) -> None:
    (home / "etc").mkdir()
    write_service(home / "etc" / "pg_service.conf", "[mine]\nhost=system\nuser=u\n")
    write_service(home / ".pg_service.conf", "[other]\nhost=own\nuser=u\n")
    env = {"PGSYSCONFDIR": str(home / "etc")}
    assert resolve(service="mine", env=env, home=home).hosts == [("system", 5432)]
    assert resolve(service="other", env=env, home=home).hosts == [("own", 5432)]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[s]\nhost\n", "missing '='"),
        ("[s]\nservice=x\n", "nested"),
        ("[s]\nhozt=x\n", "did you mean 'host'"),
    ],
)
def test_bad_service_file_names_file_and_line(text: str, problem: str, home: Path) -> None:
    path = write_service(home / ".pg_service.conf", text)
    with pytest.raises(ClientConfigurationError) as caught:
        resolve(service="s", home=home)
    assert problem in str(caught.value)
    assert f"{str(path)!r}, line 2" in str(caught.value)


# ------------------------------------------------------------------------------------------- password file
def passfile(home: Path, text: str, mode: int = 0o600) -> Path:
    path = home / ".pgpass"
    path.write_text(text)
    path.chmod(mode)
    return path


PASSFILE = r"""# host:port:db:user:password
h1:5432:d:u:one
h1:*:d:u:two
*:*:*:wild:three
a\:b:5432:d:u:fo\:ur\\x
localhost:5432:d:sock:five
/tmp/s:5432:d:dir:six
h\*:5432:d:star:seven
too:few
h9:5432:d:u:with:colon
"""


@pytest.mark.parametrize(
    ("host", "port", "user", "expected"),
    [
        ("h1", 5432, "u", "one"),
        ("h1", 7, "u", "two"),
        ("h2", 5432, "u", None),
        ("anything", 1, "wild", "three"),
        ("a:b", 5432, "u", "fo:ur\\x"),
        ("/tmp/s", 5432, "sock", "five"),
        ("/tmp/s", 5432, "dir", "six"),
        ("h*", 5432, "star", "seven"),
        ("hx", 5432, "star", None),
        ("h9", 5432, "u", "with:colon"),
    ],
)
def test_password_file(host: str, port: int, user: str, expected: str | None, home: Path) -> None:
    passfile(home, PASSFILE)
    made = resolve(host=host, port=port, user=user, database="d", home=home)
    assert made.passwords == [expected]


def test_password_file_gives_each_host_its_own(home: Path) -> None:
    passfile(home, "h1:*:*:*:one\nh2:*:*:*:two\n")
    made = resolve("postgresql://u@h1,h2,h3/d", home=home)
    assert made.passwords == ["one", "two", None]
    assert made.native_arguments()["passwords"] == ["one", "two", None]


def test_given_password_beats_the_file(home: Path) -> None:
    passfile(home, "*:*:*:*:file\n")
    assert resolve("postgresql://u:own@h/d", home=home).passwords == []


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660])
def test_password_file_that_others_may_read_is_ignored_with_a_warning(mode: int, home: Path) -> None:
    passfile(home, "*:*:*:*:file\n", mode)
    with pytest.warns(InterfaceWarning, match="group or world access"):
        assert resolve("postgresql://u@h1,h2/d", home=home).passwords == [None, None]


def test_password_file_must_be_a_plain_file(home: Path) -> None:
    (home / ".pgpass").mkdir()
    with pytest.warns(InterfaceWarning, match="not a plain file"):
        assert resolve("postgresql://u@h/d", home=home).passwords == [None]


def test_own_password_file_by_argument_dsn_and_environment(home: Path) -> None:
    path = passfile(home, "*:*:*:*:file\n").rename(home / "other")
    assert resolve("postgresql://u@h/d", home=home).passwords == [None]
    assert resolve("postgresql://u@h/d", home=home, passfile=path).passwords == ["file"]
    assert resolve(f"host=h user=u passfile={path}", home=home).passwords == ["file"]
    assert resolve("postgresql://u@h/d", home=home, env={"PGPASSFILE": str(path)}).passwords == ["file"]


# ----------------------------------------------------------------------------------------------------- TLS
def test_ssl_argument_forms(home: Path) -> None:
    dsn = "postgresql://u@h/d?sslmode=allow"
    assert resolve(dsn, home=home).sslmode == "allow"
    assert resolve(dsn, home=home, ssl=False).sslmode == "disable"
    assert resolve(dsn, home=home, ssl="require").sslmode == "require"
    full = resolve(dsn, home=home, ssl=True)
    assert (full.sslmode, full.ssl_root_cert) == ("verify-full", "system")
    assert resolve(dsn, home=home, ssl="require", direct_tls=True).direct_tls
    with pytest.raises(ClientConfigurationError, match="'ssl'"):
        resolve(dsn, home=home, ssl=3)


def test_ssl_context_is_carried_over(home: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    made = resolve("postgresql://u@h/d?sslmode=disable", home=home, ssl=context)
    assert (made.sslmode, made.ssl_min_version) == ("require", "TLSv1.3")
    context.verify_mode = ssl.CERT_REQUIRED
    assert resolve("postgresql://u@h/d", home=home, ssl=context).sslmode == "verify-ca"
    context.check_hostname = True
    assert resolve("postgresql://u@h/d", home=home, ssl=context).sslmode == "verify-full"


def test_default_root_certificate_makes_require_verify(home: Path) -> None:
    folder = home / ".postgresql"
    folder.mkdir()
    (folder / "root.crt").write_text("x")
    made = resolve("postgresql://u@h/d?sslmode=require", home=home)
    assert (made.sslmode, made.ssl_root_cert) == ("verify-ca", str(folder / "root.crt"))
    assert resolve("postgresql://u@h/d", home=home).sslmode == "prefer"


def test_client_certificate_needs_a_private_key_of_its_own(home: Path) -> None:
    folder = home / ".postgresql"
    folder.mkdir()
    (folder / "postgresql.crt").write_text("x")
    with pytest.raises(ClientConfigurationError, match="'sslkey'"):
        resolve("postgresql://u@h/d", home=home)
    key = folder / "postgresql.key"
    key.write_text("x")
    key.chmod(0o644)
    with pytest.raises(ClientConfigurationError, match="group or world access"):
        resolve("postgresql://u@h/d", home=home)
    key.chmod(0o600)
    made = resolve("postgresql://u@h/d?sslpassword=p", home=home)
    assert (made.ssl_cert, made.ssl_key, made.ssl_key_password) == (
        str(folder / "postgresql.crt"),
        str(key),
        "p",
    )
    assert resolve("postgresql://u@h/d?sslcertmode=disable", home=home).ssl_cert is None
    assert resolve("postgresql://u@h/d?sslmode=disable", home=home).ssl_cert is None
    assert resolve("postgresql://u@/d?host=/tmp", home=home).ssl_cert is None


# ------------------------------------------------------------------------------------------------ SASLprep
@pytest.mark.parametrize(
    ("password", "prepared"),
    [
        ("plain", "plain"),
        ("I\u00adX", "IX"),  # examples of RFC 4013, section 3
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("a\u00a0b", "a b"),
        ("\u0007", "\u0007"),  # prohibited: taken as it is, like libpq
        ("\u0627\u0031", "\u0627\u0031"),
    ],
)
def test_saslprep(password: str, prepared: str) -> None:
    assert _config.saslprep(password) == prepared


def test_native_arguments_carry_the_prepared_password_only_when_it_differs(home: Path) -> None:
    assert "scram_password" not in resolve(user="u", password="a", host="h", home=home).native_arguments()
    made = resolve(user="u", password="\u2168", host="h", home=home).native_arguments()
    assert (made["password"], made["scram_password"]) == ("\u2168", "IX")


def test_option_table_is_libpqs() -> None:
    assert _dsn.OPTIONS["sslmode"] == "PGSSLMODE"
    assert _dsn.OPTIONS["connect_timeout"] == "PGCONNECT_TIMEOUT"
