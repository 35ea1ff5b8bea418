"""A bare ASGI application on the server that SERVER names: fasterapi_http, uvicorn or granian."""

from __future__ import annotations

import os
from typing import Any

import common

BODY = b'{"message":"Hello, World!"}'
HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())],
}
TEXT = common.TEXT_1K.encode()
TEXT_HEAD = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"text/plain"), (b"content-length", str(len(TEXT)).encode())],
}


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["path"] == "/text":
        await send(TEXT_HEAD)
        await send({"type": "http.response.body", "body": TEXT})
        return
    await send(HEAD)
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    if os.environ["SERVER"] == "fasterapi_http":
        import fasterapi_http

        fasterapi_http.run(app, host="127.0.0.1", port=port, access_log=False)
    elif os.environ["SERVER"] == "uvicorn":
        import uvicorn

        uvicorn.run(app, host="127.0.0.1", port=port, access_log=False, log_level="error")
    else:
        from granian import Granian

        Granian(
            "asgi_raw:app", address="127.0.0.1", port=port, interface="asgi", workers=1, log_access=False
        ).serve()
