"""Raw JSON-RPC over pipes: both eras, bad input, cancellation, pollution."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from typing import Any

import pytest
from mcp_wire import HERE, Child, request


def call(
    name: str, arguments: Any = None, *, id: Any = 1, modern: bool = False, **more: Any
) -> dict[str, Any]:
    params = {"name": name, **({"arguments": arguments} if arguments is not None else {}), **more}
    return request("tools/call", params, id=id, modern=modern)


@pytest.fixture
def legacy(child: Any) -> Any:
    server = child("stdio_server.py")
    server.initialize()
    return server


@pytest.fixture(scope="module")
def shared() -> Any:
    """One initialized server for the tests that leave it as it was."""
    server = Child("stdio_server.py")
    server.initialize()
    yield server
    server.close()


@pytest.fixture
def modern(child: Any) -> Any:
    return child("stdio_server.py")


@pytest.mark.parametrize("version", ["2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25"])
def test_initialize_agrees_on_a_known_version(child: Any, version: str) -> None:
    answer = child("stdio_server.py").initialize(version)
    assert answer["id"] == "init"
    result = answer["result"]
    assert result["protocolVersion"] == version
    assert result["serverInfo"] == {"name": "stdio-tests", "version": "9.9"}
    assert result["instructions"] == "Be kind"
    assert "resultType" not in result and "_meta" not in result


def test_initialize_with_an_unknown_version_gets_the_latest(child: Any) -> None:
    assert child("stdio_server.py").initialize("2020-01-01")["result"]["protocolVersion"] == "2025-11-25"


def test_discover(modern: Any) -> None:
    result = modern.ask(request("server/discover", modern=True))["result"]
    assert result["supportedVersions"] == ["2026-07-28"]
    assert result["resultType"] == "complete"
    assert result["ttlMs"] >= 0 and result["cacheScope"] == "private"
    assert result["_meta"]["io.modelcontextprotocol/serverInfo"]["name"] == "stdio-tests"


def test_both_eras_at_once(shared: Any) -> None:
    assert "resultType" not in shared.ask(call("add", {"a": 1}))["result"]
    assert shared.ask(call("add", {"a": 1}, modern=True))["result"]["resultType"] == "complete"


@pytest.mark.parametrize("name", ["add", "add_async"])
def test_a_scalar_result_is_text_and_structure(shared: Any, name: str) -> None:
    assert shared.ask(call(name, {"a": 2, "b": 3}, id="x")) == {
        "jsonrpc": "2.0",
        "id": "x",
        "result": {"content": [{"type": "text", "text": "5"}], "structuredContent": {"result": 5}},
    }


@pytest.mark.parametrize(
    ("name", "arguments", "value"),
    [
        ("add", {"a": -5}, 5),
        ("add", {"b": 1, "a": 2}, 3),
        ("add", {"a": 2.0}, 12),
        ("add", {"a": "7"}, 17),
        ("add", {"a": 10**30, "b": 1}, 10**30 + 1),
        ("half", {"x": 3}, 1.5),
        ("half", {"x": 3e0}, 1.5),
        ("flip", {"on": True}, False),
        ("echo", {"text": 'ä "\n\u0001 \U0001f600'}, 'ä "\n\u0001 \U0001f600'),
        ("echo", {"text": "x" * 300_000}, "x" * 300_000),
        ("blocking", {"seconds": 0}, "slept"),
    ],
)
def test_scalar_arguments(shared: Any, name: str, arguments: Any, value: Any) -> None:
    result = shared.ask(call(name, arguments))["result"]
    assert "isError" not in result, result
    assert result["structuredContent"] == {"result": value}
    assert result["content"][0]["text"] == (value if isinstance(value, str) else json.dumps(value))


def test_models_in_and_out(shared: Any) -> None:
    result = shared.ask(call("double", {"item": {"name": "tea"}, "times": 3}))["result"]
    assert result["structuredContent"] == {"name": "tea", "price": 3.0}
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]
    as_text = shared.ask(call("double", {"item": '{"name": "tea"}'}))["result"]
    assert as_text["structuredContent"] == {"name": "tea", "price": 2.0}


@pytest.mark.parametrize(
    ("name", "arguments", "text"),
    [
        ("add", {"a": "x"}, "valid integer"),
        ("add", {}, "Field required"),
        ("add", None, "Field required"),
        ("add", {"a": None}, "valid integer"),
        ("add", {"a": 1.5}, "fractional"),
        ("flip", {"on": "maybe"}, "valid boolean"),
        ("double", {"item": {}}, "Field required"),
        ("double", {"item": {"name": "x"}, "times": 9}, "less than or equal to 5"),
        ("fails", {}, "Error executing tool fails: bad thing"),
        ("fails_politely", {}, "please do not"),
    ],
)
def test_failures_are_tool_results(shared: Any, name: str, arguments: Any, text: str) -> None:
    result = shared.ask(call(name, arguments))["result"]
    assert result["isError"] is True
    assert text in result["content"][0]["text"]


def test_protocol_errors_of_tools(shared: Any) -> None:
    assert shared.ask(call("fails_protocol"))["error"] == {
        "code": -1,
        "message": "own code",
        "data": {"x": 1},
    }


@pytest.mark.parametrize("era", [False, True])
@pytest.mark.parametrize(
    ("method", "params", "code"),
    [
        ("tools/call", {"name": "nope"}, -32602),
        ("tools/call", {}, -32602),
        ("tools/call", {"name": 7}, -32602),
        ("tools/call", {"name": "add", "arguments": [1]}, -32602),
        ("tools/call", {"name": "add", "arguments": "x"}, -32602),
        ("tools/list", {"cursor": "nonsense"}, -32602),
        ("resources/read", {}, -32602),
        ("prompts/get", {"name": "nope"}, -32602),
        ("nope", {}, -32601),
        ("completion/complete", {}, -32601),
    ],
)
def test_errors_of_requests(shared: Any, era: bool, method: str, params: Any, code: int) -> None:
    answer = shared.ask(request(method, params, id="q", modern=era))
    assert answer["error"]["code"] == code and answer["id"] == "q"


def test_resource_not_found_has_the_code_of_its_era(shared: Any) -> None:
    old = shared.ask(request("resources/read", {"uri": "x://y"}))["error"]
    new = shared.ask(request("resources/read", {"uri": "x://y"}, modern=True))["error"]
    assert (old["code"], new["code"]) == (-32002, -32602)
    assert old["data"] == new["data"] == {"uri": "x://y"}


@pytest.mark.parametrize("method", ["initialize", "ping", "logging/setLevel", "resources/subscribe"])
def test_legacy_methods_are_unknown_in_the_modern_era(modern: Any, method: str) -> None:
    assert modern.ask(request(method, modern=True))["error"]["code"] == -32601


def test_modern_requests_must_say_who_they_are(modern: Any) -> None:
    version, capabilities = (
        "io.modelcontextprotocol/protocolVersion",
        "io.modelcontextprotocol/clientCapabilities",
    )
    for meta, code in (
        ({version: "2026-07-28"}, -32602),
        ({version: "2026-07-28", capabilities: []}, -32602),
        ({version: 5, capabilities: {}}, -32602),
        ({version: "2031-01-01", capabilities: {}}, -32022),
        ({version: "2025-11-25", capabilities: {}}, -32022),
        ({version: "2026-07-28", capabilities: {}, "io.modelcontextprotocol/logLevel": "loud"}, -32602),
    ):
        error = modern.ask(request("tools/list", {"_meta": meta}))["error"]
        assert error["code"] == code, meta
        if code == -32022:
            assert error["data"] == {"supported": ["2026-07-28"], "requested": meta[version]}
    assert modern.ask(request("server/discover", {}))["error"]["code"] == -32602


def test_legacy_requests_before_initialize_are_refused(modern: Any) -> None:
    assert modern.ask(request("tools/list"))["error"]["code"] == -32602
    assert modern.ask(request("ping"))["result"] == {}


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (b"garbage", -32700),
        (b"{", -32700),
        (b'{"jsonrpc":"2.0","id":1,"method":"x"} trailing', -32700),
        (b'{"a":"\xff"}', -32700),
        (b"[" * 100_000, -32700),
        (b"3", -32600),
        (b"{}", -32600),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":{},"method":"ping"}', -32600),
        (b'{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":1}', -32600),
        (b'{"jsonrpc":"2.0","id":1,"method":"ping","params":[]}', -32602),
        (b"[]", -32600),
        (b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]', -32600),
    ],
)
def test_bad_lines_are_answered_and_survived(shared: Any, line: bytes, code: int) -> None:
    assert shared.ask(line)["error"]["code"] == code
    assert shared.ask(request("ping", id=2)) == {"jsonrpc": "2.0", "id": 2, "result": {}}


def test_a_line_beyond_the_limit_is_answered_and_skipped(shared: Any) -> None:
    shared.send(b'{"x":"' + b"y" * (5 << 20) + b'"}')
    assert shared.receive()["error"]["code"] == -32600
    assert shared.ask(request("ping"))["result"] == {}


def test_blank_lines_and_notifications_are_silent(shared: Any) -> None:
    shared.send(b"", b"  \r", {"jsonrpc": "2.0", "method": "notifications/whatever"})
    shared.send({"jsonrpc": "2.0", "id": 77, "result": {}})
    assert shared.ask(request("ping", id=5))["id"] == 5


def test_batches_belong_to_one_revision(child: Any) -> None:
    server = child("stdio_server.py")
    server.initialize("2025-03-26")
    answers = server.ask(
        [
            request("ping", id=1),
            call("slow", {"seconds": 0.01}, id=2),
            {"jsonrpc": "2.0", "method": "notifications/x"},
            {"bad": 1},
            call("add", {"a": 1}, id=3),
        ]
    )
    assert {answer.get("id") for answer in answers} == {1, 2, 3, None}


def test_answers_come_in_the_order_of_completion(shared: Any) -> None:
    shared.send(*[call("slow", {"seconds": 0.2 - i * 0.002}, id=i) for i in range(32)])
    shared.send(request("ping", id="first"))
    assert shared.receive()["id"] == "first"
    assert {shared.receive()["id"] for _ in range(32)} == set(range(32))


def test_many_pipelined_calls(legacy: Any) -> None:
    count = 20_000
    data = b"\n".join(json.dumps(call("add", {"a": i, "b": 1}, id=i)).encode() for i in range(count))
    sender = threading.Thread(target=legacy.send, args=(data,))
    sender.start()
    for i in range(count):
        answer = legacy.receive()
        assert (answer["id"], answer["result"]["structuredContent"]["result"]) == (i, i + 1)
    sender.join()


@pytest.mark.parametrize("era", [False, True])
def test_cancelled_calls_stay_silent(legacy: Any, era: bool) -> None:
    legacy.send(call("slow", {"seconds": 30}, id="s", modern=era), call("blocking", {"seconds": 0.1}, id="b"))
    legacy.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "s"}})
    legacy.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "b"}})
    legacy.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "unknown"}})
    time.sleep(0.2)
    assert legacy.ask(request("ping", id="p"))["id"] == "p"


def test_stdout_cannot_be_polluted(legacy: Any) -> None:
    assert legacy.ask(call("pollutes"))["result"]["structuredContent"] == {"result": "clean"}
    assert legacy.ask(request("ping"))["result"] == {}
    assert legacy.finish() == 0
    errors = legacy.errors()
    for text in ("printed at import", "print() must not", "neither may raw writes", "nor children"):
        assert text in errors


def test_the_end_of_input_ends_the_server(legacy: Any) -> None:
    legacy.send(call("slow", {"seconds": 0.05}, id="last"))
    assert legacy.finish() == 0
    assert legacy.receive()["id"] == "last"


def test_the_end_of_input_does_not_wait_for_ever(legacy: Any) -> None:
    legacy.send(call("slow", {"seconds": 60}))
    before = time.monotonic()
    assert legacy.finish() == 0
    assert time.monotonic() - before < 5


def test_a_file_as_input(tmp_path: Any) -> None:
    lines = [request("ping", id=i) for i in range(3)] + [
        call("add_async", {"a": 1, "b": 1}, id=9, modern=True)
    ]
    (tmp_path / "in").write_text("\n".join(json.dumps(line) for line in lines))  # no newline at the end
    with open(tmp_path / "in") as source, open(tmp_path / "out", "w") as sink:
        subprocess.run(
            [sys.executable, str(HERE / "stdio_server.py")],
            stdin=source,
            stdout=sink,
            env={**os.environ, "PYTHONUNBUFFERED": ""},
            timeout=20,
            check=True,
        )
    answers = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [answer["id"] for answer in answers] == [0, 1, 2, 9]


def test_legacy_notifications(legacy: Any) -> None:
    legacy.send(call("tells", {}, id=4, _meta={"progressToken": "t"}))
    seen = [legacy.receive() for _ in range(5)]
    assert [m.get("method", "answer") for m in seen] == [
        "notifications/progress",
        "notifications/message",
        "notifications/message",
        "notifications/progress",
        "answer",
    ]
    assert seen[0]["params"] == {"progressToken": "t", "progress": 1, "total": 2, "message": "half"}
    assert seen[2]["params"] == {"level": "error", "data": {"bad": True}, "logger": "me"}
    assert seen[4]["result"]["structuredContent"] == {"result": "4 2025-11-25 tests"}
    assert legacy.ask(request("logging/setLevel", {"level": "error"}))["result"] == {}
    assert legacy.ask(request("logging/setLevel", {"level": "x"}))["error"]["code"] == -32602
    legacy.send(call("tells", {}))
    assert legacy.receive()["params"]["level"] == "error"
    assert "result" in legacy.receive()


def test_modern_log_messages_are_asked_for(modern: Any) -> None:
    modern.send(call("tells", {}, modern=True))
    assert "result" in modern.receive()
    modern.send(call("tells", {}, modern=True, _meta={"io.modelcontextprotocol/logLevel": "warning"}))
    assert modern.receive()["params"]["level"] == "error"
    assert "result" in modern.receive()


def test_legacy_elicitation(child: Any) -> None:
    server = child("stdio_server.py")
    server.initialize(elicitation={})
    server.send(call("asks", {}, id="e"))
    question = server.receive()
    assert question["method"] == "elicitation/create"
    assert question["params"]["requestedSchema"]["properties"]["name"]["type"] == "string"
    server.send(
        {"jsonrpc": "2.0", "id": question["id"], "result": {"action": "accept", "content": {"name": "x"}}}
    )
    assert "accept name='x'" in server.receive()["result"]["structuredContent"]["result"]


def test_elicitation_needs_a_client_that_can(legacy: Any) -> None:
    assert legacy.ask(call("asks", {}))["error"]["code"] == -32600
    error = legacy.ask(call("asks", {}, modern=True))["error"]
    assert error["code"] == -32021 and error["data"] == {"requiredCapabilities": {"elicitation": {}}}


def test_modern_elicitation_is_a_retry(modern: Any) -> None:
    meta: dict[str, Any] = {"io.modelcontextprotocol/clientCapabilities": {"elicitation": {}}}
    first = modern.ask(call("asks", {}, modern=True, _meta=meta))["result"]
    assert first["resultType"] == "input_required"
    (key,) = first["inputRequests"]
    answers = {key: {"action": "accept", "content": {"name": "y"}}}
    more = {"_meta": meta, "inputResponses": answers, "requestState": first["requestState"]}
    assert (
        "accept name='y'" in modern.ask(call("asks", {}, modern=True, **more))["result"]["content"][0]["text"]
    )
    more["requestState"] = first["requestState"][:-1] + ("A" if first["requestState"][-1] != "A" else "B")
    assert modern.ask(call("asks", {}, modern=True, **more))["error"]["code"] == -32602
    more["requestState"] = first["requestState"]
    assert modern.ask(call("tells", {}, modern=True, **more))["error"]["code"] == -32602
    more["inputResponses"] = {key: {"action": "steal"}}
    assert modern.ask(call("asks", {}, modern=True, **more))["error"]["code"] == -32602


def test_subscriptions_over_stdio(modern: Any) -> None:
    wish = {"toolsListChanged": True, "resourceSubscriptions": ["a://b"], "unknown": True}
    modern.send(request("subscriptions/listen", {"notifications": wish}, id="sub", modern=True))
    first = modern.receive()
    assert first["method"] == "notifications/subscriptions/acknowledged"
    assert first["params"]["notifications"] == {"toolsListChanged": True, "resourceSubscriptions": ["a://b"]}
    assert first["params"]["_meta"] == {"io.modelcontextprotocol/subscriptionId": "sub"}
    modern.send({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "sub"}})
    assert modern.ask(request("server/discover", id="d", modern=True))["id"] == "d"
