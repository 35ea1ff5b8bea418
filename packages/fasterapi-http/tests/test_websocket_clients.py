"""WebSockets with the clients that people use: each in turn talks to an echo application. Clients that are not
installed are skipped.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from asgi_support import Hosted

MESSAGES = ["one", "zwölf €😀", "", "x" * 70_000, '{"a": 1}' * 1000]
PAGE = b"""<!doctype html><title>t</title><script>
const log = [];
const socket = new WebSocket(`ws://${location.host}/echo`, ["chat"]);
socket.binaryType = "arraybuffer";
const messages = ["one", "zw\\u00f6lf \\u20ac\\ud83d\\ude00", "", "x".repeat(70000)];
socket.onopen = () => { messages.forEach(m => socket.send(m)); socket.send(new Uint8Array([0, 255, 7])); };
socket.onmessage = e => {
  log.push(typeof e.data === "string" ? e.data === messages[log.length] : [...new Uint8Array(e.data)].join());
  if (log.length === messages.length + 1) socket.close(3001, "done");
};
socket.onclose = e => {
  log.push(e.code, e.reason, e.wasClean, socket.protocol, socket.extensions.split(";")[0]);
  const source = new EventSource("/events"), events = [];
  source.onmessage = e => {
    events.push([e.data, e.lastEventId]);
    if (events.length === 4) { source.close(); fetch("/report", {method: "POST", body: JSON.stringify([log, events])}); }
  };
};
</script>"""


class Application:
    """/echo is a WebSocket, / a page that uses it, /events server-sent events, /report what the page has seen."""

    def __init__(self) -> None:
        self.reports: list[Any] = []
        self.reported = threading.Event()
        self.closed: list[Any] = []
        self.last_event_ids: list[bytes | None] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "websocket":
            await receive()
            chosen = scope["subprotocols"][0] if scope["subprotocols"] else None
            await send({"type": "websocket.accept", "subprotocol": chosen})
            while (event := await receive())["type"] == "websocket.receive":
                await send({**event, "type": "websocket.send"})
            self.closed.append((event["code"], event["reason"]))
            return
        kind, body, more = b"text/html", PAGE, False
        if scope["path"] == "/report":
            text = b""
            while True:
                event = await receive()
                text += event.get("body", b"")
                if not event.get("more_body"):
                    break
            self.reports.append(json.loads(text))
            self.reported.set()
            body = b"ok"
        elif scope["path"] == "/events":
            last = dict(scope["headers"]).get(b"last-event-id")
            self.last_event_ids.append(last)
            first = int(last or 0) + 1
            kind = b"text/event-stream"
            body = b"retry: 10\n\n" + b"".join(b"id: %d\ndata: n%d\n\n" % (n, n) for n in (first, first + 1))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
        await send({"type": "http.response.body", "body": body, "more_body": more})


@pytest.fixture
def application() -> Application:
    return Application()


@pytest.fixture
def port(application: Application) -> Iterator[int]:
    hosted = Hosted(application, lifespan="off")
    yield hosted.port
    hosted.stop()
    assert hosted.errors == []


@pytest.mark.parametrize("compression", [None, "deflate"])
def test_websockets(port: int, application: Application, compression: str | None) -> None:
    pytest.importorskip("websockets")
    from websockets.asyncio.client import connect

    async def main() -> None:
        async with connect(f"ws://127.0.0.1:{port}", compression=compression, subprotocols=["a"]) as socket:
            assert socket.subprotocol == "a"
            for message in [*MESSAGES, b"\0\xff", b"y" * 200_000]:
                await socket.send(message)
                assert await socket.recv() == message
            await socket.send(iter(["in ", "frag", "ments"]))
            assert await socket.recv() == "in fragments"
            await asyncio.wait_for(await socket.ping(), 5)
            await socket.close(3002, "bye")

    asyncio.run(main())
    assert application.closed == [(3002, "bye")]


@pytest.mark.parametrize("compress", [0, 9, 15])
def test_aiohttp(port: int, application: Application, compress: int) -> None:
    aiohttp = pytest.importorskip("aiohttp")

    async def main() -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(f"http://127.0.0.1:{port}/", compress=compress, protocols=["b"]) as socket,
        ):
            assert socket.protocol == "b"
            for message in MESSAGES:
                await socket.send_str(message)
                assert await socket.receive_str() == message
            await socket.send_bytes(b"\0" * 1000)
            assert await socket.receive_bytes() == b"\0" * 1000
            await socket.close(code=3003)

    asyncio.run(main())
    assert application.closed == [(3003, "")]


def test_httpx_ws(port: int) -> None:
    httpx_ws = pytest.importorskip("httpx_ws")
    with httpx_ws.connect_ws(f"http://127.0.0.1:{port}/") as socket:
        for message in MESSAGES[:3]:
            socket.send_text(message)
            assert socket.receive_text() == message


NODE = """
const Socket = globalThis.WebSocket ?? require('ws').WebSocket;
const socket = new Socket(process.argv[2], ['c']);
const messages = ['one', 'zwölf €😀', '', 'x'.repeat(70000)];
let seen = 0;
socket.onopen = () => messages.forEach(m => socket.send(m));
socket.onmessage = e => {
  if (e.data !== messages[seen]) process.exit(2);
  if (++seen === messages.length) socket.close(3004, 'node');
};
socket.onclose = e => { console.log(e.code, e.reason, e.wasClean, socket.protocol); process.exit(0); };
socket.onerror = e => { console.log(e.message); process.exit(3); };
"""


def test_node(port: int, application: Application, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    probe = "process.exit(globalThis.WebSocket || (()=>{try{return require('ws')}catch{}})() ? 0 : 1)"
    if subprocess.run([node, "-e", probe], cwd=tmp_path).returncode:
        pytest.skip("this node has no WebSocket (22 and newer have), and NODE_PATH no 'ws'")
    (tmp_path / "client.js").write_text(NODE, encoding="utf-8")
    command = [node, str(tmp_path / "client.js"), f"ws://127.0.0.1:{port}/"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert done.stdout == "3004 node true c\n", done
    assert application.closed == [(3004, "node")]


def test_a_browser(port: int, application: Application, tmp_path: Path) -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium here (apt-get install chromium)")
    command = [chromium, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    browser = subprocess.Popen(
        [*command, "--remote-debugging-port=0", f"http://127.0.0.1:{port}/"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        assert application.reported.wait(90), "the page did not report"
    finally:
        browser.kill()
        browser.wait(10)
    log, events = application.reports[0]
    assert log == [True, True, True, True, "0,255,7", 3001, "done", True, "chat", "permessage-deflate"]
    # the stream ended twice and was taken up where it was left
    assert events == [["n1", "1"], ["n2", "2"], ["n3", "3"], ["n4", "4"]]
    assert application.last_event_ids[:2] == [None, b"2"]
    assert application.closed == [(3001, "done")]
