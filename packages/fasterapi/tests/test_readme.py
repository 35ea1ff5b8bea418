"""The programs of the README run."""

import re
from pathlib import Path

from fasterapi.testclient import TestClient

README = Path(__file__).parent.parent / "README.md"
BLOCKS = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.S)


def test_the_shop_and_its_test() -> None:
    namespace: dict[str, object] = {"__name__": "shop"}
    exec(BLOCKS[0], namespace)
    testing = next(block for block in BLOCKS if "TestClient" in block)
    exec(testing, namespace)
    namespace["test_get"]()  # type: ignore[operator]
    with TestClient(namespace["app"]) as client:
        assert client.put("/items/3", json={"name": "tea", "price": 2.5}).json() == {
            "name": "tea",
            "price": 2.5,
        }
        assert client.put("/items/3", json={"name": "tea"}).status_code == 422
        assert client.get("/items/4").status_code in (200, 404)


def test_the_short_style() -> None:
    from fasterapi import App

    namespace: dict[str, object] = {"app": App()}
    exec(next(block for block in BLOCKS if "def get_user(req, res)" in block), namespace)
    with TestClient(namespace["app"]) as client:
        assert client.get("/users/0").json() == {"error": "nobody"}
        answer = client.get("/users/7")
        assert (answer.json(), answer.headers["x-style"]) == ({"id": "7"}, "short")
