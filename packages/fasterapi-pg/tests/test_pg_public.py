"""The public surface: names, signatures that asyncpg has, the stub, the README's programs."""

from __future__ import annotations

import ast
import importlib.metadata
import inspect
import re
import subprocess
import sys
from pathlib import Path

import fasterapi_core
import fasterapi_pg
import pytest
from fasterapi_pg import _pg

PACKAGE = Path(__file__).parent.parent


def test_all_names_exist_and_nothing_public_is_left_out() -> None:
    for name in fasterapi_pg.__all__:
        assert hasattr(fasterapi_pg, name), name
    assert len(set(fasterapi_pg.__all__)) == len(fasterapi_pg.__all__)
    public = {
        name
        for name, value in vars(fasterapi_pg).items()
        if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(fasterapi_pg.__all__)


def test_modules_are_where_asyncpg_has_them() -> None:
    assert fasterapi_pg.protocol.Record is fasterapi_pg.Record
    assert fasterapi_pg.pool.Pool is fasterapi_pg.Pool
    assert fasterapi_pg.connection.Connection is fasterapi_pg.Connection
    for module, name in (
        ("cursor", "Cursor"),
        ("transaction", "Transaction"),
        ("prepared_stmt", "PreparedStatement"),
    ):
        assert hasattr(getattr(fasterapi_pg, module), name)
    assert issubclass(fasterapi_pg.exceptions.UniqueViolationError, fasterapi_pg.exceptions.PostgresError)
    assert fasterapi_pg.types.Range is fasterapi_pg.Range


def test_version() -> None:
    assert fasterapi_pg.__version__ == importlib.metadata.version("fasterapi-pg")


# asyncpg 0.32: method names of its public classes
SURFACE = {
    "Connection": "add_listener add_log_listener add_query_logger add_termination_listener close copy_from_query "
    "copy_from_table copy_records_to_table copy_to_table cursor execute executemany fetch fetchmany fetchrow fetchval "
    "get_reset_query get_server_pid get_server_version get_settings is_closed is_in_transaction prepare query_logger "
    "reload_schema_state remove_listener remove_log_listener remove_query_logger remove_termination_listener reset "
    "reset_type_codec set_builtin_type_codec set_type_codec terminate transaction",
    "Pool": "acquire close copy_from_query copy_from_table copy_records_to_table copy_to_table execute executemany "
    "expire_connections fetch fetchmany fetchrow fetchval get_idle_size get_init_size get_max_size get_min_size "
    "get_size is_closing release set_connect_args terminate",
    "Record": "get items keys values",
    "Range": "isempty issubset issuperset lower lower_inc lower_inf upper upper_inc upper_inf",
    "BitString": "as_string bytes from_int frombytes to_int",
    "PgPool": "exec exec_async fetch fetchrow fetchval execute tx tx_async close acquire",
    "Result": "all one one_or_none first scalar scalars dicts tuples into status rowcount columns",
}


@pytest.mark.parametrize("cls", list(SURFACE))
def test_surface(cls: str) -> None:
    missing = [name for name in SURFACE[cls].split() if not hasattr(getattr(fasterapi_pg, cls), name)]
    assert missing == []


CONNECT_OPTIONS = (
    "host port user password passfile service servicefile database loop timeout statement_cache_size "
    "max_cached_statement_lifetime max_cacheable_statement_size command_timeout ssl direct_tls connection_class "
    "record_class server_settings target_session_attrs krbsrvname gsslib"
)


def test_connect_knows_asyncpgs_options() -> None:
    from fasterapi_pg.connection import make_config

    known = set(inspect.signature(make_config).parameters) | set(
        inspect.signature(fasterapi_pg.connect).parameters
    )
    assert set(CONNECT_OPTIONS.split()) <= known


def test_stub_and_extension_agree() -> None:
    """Every class, function and method of the stub is in the extension, and the other way round."""
    stub = ast.parse((Path(fasterapi_pg.__file__).parent / "_pg.pyi").read_text())
    problems = []
    top = {n.name for n in stub.body if isinstance(n, (ast.ClassDef, ast.FunctionDef))}
    problems += [f"not in the extension: {name}" for name in top if not hasattr(_pg, name)]
    problems += [
        f"not in the stub: {name}" for name in vars(_pg) if not name.startswith("_") and name not in top
    ]
    for node in stub.body:
        if isinstance(node, ast.ClassDef) and hasattr(_pg, node.name):
            cls = getattr(_pg, node.name)
            names = {item.name for item in node.body if isinstance(item, ast.FunctionDef)} - {"__bool__"}
            targets = (item.target for item in node.body if isinstance(item, ast.AnnAssign))
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
            problems += [
                f"not in the extension: {node.name}.{name}" for name in names if not hasattr(cls, name)
            ]
            problems += [
                f"not in the stub: {node.name}.{name}"
                for name in vars(cls)
                if not name.startswith(("_", "n_")) and name not in names
            ]
    assert problems == []


def test_only_core_is_imported() -> None:
    allowed = {"fasterapi_core", "fasterapi_pg"}
    for path in (PACKAGE / "python").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path}: {name}"


def test_errors_share_cores_base() -> None:
    assert issubclass(fasterapi_pg.PostgresError, fasterapi_core.FasterAPIError)
    assert issubclass(fasterapi_pg.InterfaceError, fasterapi_core.FasterAPIError)
    assert issubclass(fasterapi_pg.InternalClientError, fasterapi_core.FasterAPIError)


README = (PACKAGE / "README.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("number", range(len(PROGRAMS)))
def test_programs_of_the_readme_run(number: int, pg_dsn: str) -> None:
    program = PROGRAMS[number].replace("postgresql://app:secret@localhost/shop", pg_dsn)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    expected = re.findall(r"# -> (.*)", program)
    assert done.stdout.strip().split("\n") == expected if expected else not done.stdout.strip()
