"""The command line: run, dev, routes, schema, and finding the application."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fasterapi import __version__
from fasterapi.cli.commands import cli
from fasterapi.cli.discover import DiscoveryError, find_target
from typer.testing import CliRunner

SOURCE = """
import os
from fasterapi import App

app = App(title="Shop")

@app.get("/items/{id}", tags=["items"])
async def item(id: int, q: str = "none"):
    return {"id": id, "q": q, "pid": os.getpid()}

@app.post("/form")
def form(): ...

def make():
    return app
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "main.py").write_text(SOURCE)
    package = tmp_path / "shop" / "web"
    package.mkdir(parents=True)
    (tmp_path / "shop" / "__init__.py").write_text("")
    (package / "__init__.py").write_text("")
    (package / "api.py").write_text(
        SOURCE.replace("app", "shop_app").replace("fasterapi import App", "fasterapi import App")
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in ("main", "shop", "shop.web", "shop.web.api"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tmp_path


def test_discovery(project: Path) -> None:
    assert find_target(None, None) == "main:app"
    assert find_target("main:app", None) == "main:app"
    assert find_target("main.py", None) == "main:app"
    assert find_target("shop/web/api.py", None) == "shop.web.api:shop_app"
    assert find_target("shop/web", "shop_app") == "shop.web.api:shop_app"
    with pytest.raises(DiscoveryError, match="does not exist"):
        find_target("nothing.py", None)


def test_version_routes_and_schema(project: Path) -> None:
    runner = CliRunner()
    assert __version__ in runner.invoke(cli, ["--version"]).output
    routes = runner.invoke(cli, ["routes", "main:app"], env={"COLUMNS": "200"})
    assert routes.exit_code == 0
    assert "/items/{id}" in routes.output and "async" in routes.output
    schema = runner.invoke(cli, ["schema", "main:make"])
    assert json.loads(schema.output)["info"]["title"] == "Shop"
    runner.invoke(cli, ["schema", "-o", "out.json"])
    assert "/items/{id}" in json.loads(Path("out.json").read_text())["paths"]
    wrong = runner.invoke(cli, ["schema", "main:nothing"])
    assert wrong.exit_code == 2
    assert "Traceback" not in wrong.output


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(url: str, process: subprocess.Popen[bytes]) -> dict[str, object]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        assert process.poll() is None, "the server ended"
        try:
            found: dict[str, object] = httpx.get(url).json()
            return found
        except httpx.HTTPError:
            time.sleep(0.05)
    raise AssertionError("the server did not answer")


@pytest.mark.parametrize("workers", [1, 2])
def test_run_serves_until_the_signal(project: Path, workers: int) -> None:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "fasterapi",
        "run",
        "main:app",
        "--host",
        "127.0.0.1",
        "--port",
        str(port),
    ]
    process = subprocess.Popen([*command, "--workers", str(workers)], cwd=project, env={**os.environ})
    try:
        answer = wait_for(f"http://127.0.0.1:{port}/items/7?q=x", process)
        assert (answer["id"], answer["q"]) == (7, "x")
        assert (answer["pid"] == process.pid) == (workers == 1)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_dev_restarts_after_a_change(project: Path) -> None:
    port = free_port()
    command = [sys.executable, "-m", "fasterapi", "dev", "main.py", "--port", str(port)]
    process = subprocess.Popen(command, cwd=project, env={**os.environ})
    url = f"http://127.0.0.1:{port}/items/1"
    try:
        wait_for(url, process)
        (project / "main.py").write_text(SOURCE.replace('"q": q', '"q": "changed"'))
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            if wait_for(url, process)["q"] == "changed":
                break
            time.sleep(0.1)
        else:
            raise AssertionError("the change was not seen")
        process.send_signal(signal.SIGINT)
        process.wait(20)
    finally:
        process.kill()
        process.wait()
