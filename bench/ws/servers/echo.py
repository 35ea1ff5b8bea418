"""An echo over WebSocket on the server that SERVER names, as a bare ASGI application or a Starlette-style handler."""

from __future__ import annotations

import os
from typing import Any


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "http":  # how the bench sees that the server is up
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"up"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


def framework(module: Any) -> Any:
    api = module.FastAPI()

    async def up() -> str:
        return "up"

    async def echo(websocket: Any) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text(await websocket.receive_text())
        except module.WebSocketDisconnect:  # the load ends without a word
            pass

    echo.__annotations__["websocket"] = module.WebSocket
    api.get("/up")(up)
    api.websocket("/")(echo)
    return api


if __name__ == "__main__":
    port = int(os.environ["PORT"])
    server = os.environ["SERVER"]
    if server == "fasterapi_http":
        import fasterapi_http

        fasterapi_http.run(app, host="127.0.0.1", port=port, access_log=False, ws_per_message_deflate=False)
    elif server == "fasterapi":
        import fasterapi

        framework(fasterapi).run(port=port, access_log=False)
    elif server == "granian":
        from granian import Granian

        Granian(
            "echo:app", address="127.0.0.1", port=port, interface="asgi", workers=1, log_access=False
        ).serve()
    else:
        import uvicorn

        target = app
        if server == "fastapi":
            import fastapi

            target = framework(fastapi)
        uvicorn.run(
            target,
            host="127.0.0.1",
            port=port,
            ws="wsproto" if server == "wsproto" else "websockets",
            access_log=False,
            log_level="error",
        )
