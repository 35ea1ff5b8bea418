"""dev.py: what can be tested of it without building anything."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def dev() -> ModuleType:
    spec = importlib.util.spec_from_file_location("dev", ROOT / "dev.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules["dev"] = module  # dataclasses and the like look it up
    spec.loader.exec_module(module)
    return module


def test_help_names_every_command(dev: ModuleType) -> None:
    done = subprocess.run([sys.executable, ROOT / "dev.py", "help"], capture_output=True, text=True)
    assert done.returncode == 0
    for name in dev.COMMANDS:
        assert name == "help" or f"dev.py {name}" in done.stdout


def test_an_unknown_command_is_refused_with_the_known_ones() -> None:
    done = subprocess.run([sys.executable, ROOT / "dev.py", "tset"], capture_output=True, text=True)
    assert done.returncode == 2 and "demo" in done.stdout


def test_a_change_of_a_source_changes_the_digest(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "ROOT", tmp_path)
    (tmp_path / "a").mkdir()
    file = tmp_path / "a" / "x.cpp"
    file.write_text("1")
    first = dev.digest_of([tmp_path / "a"])
    assert dev.digest_of([tmp_path / "a"]) == first
    file.write_text("2")
    second = dev.digest_of([tmp_path / "a"])
    file.rename(tmp_path / "a" / "y.cpp")
    assert len({first, second, dev.digest_of([tmp_path / "a"])}) == 3


def test_core_headers_are_sources_of_the_dependants(dev: ModuleType) -> None:
    core = ROOT / "packages" / "fasterapi-core" / "include"
    for name in ("http", "pg", "mcp"):
        assert core in dev.sources(name)
    assert core not in dev.sources("fasterapi")


def test_groups_are_expanded(dev: ModuleType) -> None:
    assert set(dev.groups("demo")) <= set(dev.groups("test"))


def test_where_apt_may_not_run_the_line_to_run_is_printed(
    dev: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dev, "missing_packages", lambda extra=(): ["libssl-dev"])
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(dev.shutil, "which", lambda name: "/usr/bin/apt-get" if name == "apt-get" else None)
    with pytest.raises(dev.Failure, match="sudo apt-get install -y libssl-dev"):
        dev.ensure_system()


def test_an_environment_of_somebody_else_is_used_and_kept(
    dev: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine"
    (mine / "bin").mkdir(parents=True)
    (mine / "pyvenv.cfg").write_text("home = /somewhere\n")
    (mine / "bin" / "python").touch()
    (mine / "precious").write_text("kept")
    monkeypatch.setenv("FASTERAPI_VENV", str(mine))
    monkeypatch.setattr(dev, "VENV", mine)
    monkeypatch.setattr(dev, "PYTHON", mine / "bin" / "python")
    dev.ensure_venv()
    assert (mine / "precious").read_text() == "kept"
    dev.ensure_venv()  # and is fresh from then on
    assert (mine / "precious").exists()
