"""A browser's WebSocket against the ASGI application itself, in this process."""

from __future__ import annotations

import json
from typing import Any

from asgiref.testing import ApplicationCommunicator


class Socket(ApplicationCommunicator):
    """``connect`` says whether the upgrade happened; ``hear`` gives the next message as JSON."""

    def __init__(self, application: Any, path: str, headers: list[tuple[bytes, bytes]]) -> None:
        path, _mark, query = path.partition("?")
        super().__init__(
            application,
            {
                "type": "websocket", "path": path, "query_string": query.encode(), "headers": headers,
                "subprotocols": [], "client": ("127.0.0.1", 1), "server": ("testserver", 80),
            },
        )  # fmt: skip
        self.hello: dict[str, Any] = {}

    async def connect(self, *, timeout_s: float = 20) -> bool:
        await self.send_input({"type": "websocket.connect"})
        said = await self.receive_output(timeout_s)
        assert said["type"] in ("websocket.accept", "websocket.close")
        return bool(said["type"] == "websocket.accept")

    async def hear(self, *, timeout_s: float = 20) -> dict[str, Any]:
        said = await self.receive_output(timeout_s)
        assert said["type"] == "websocket.send", said
        heard: dict[str, Any] = json.loads(said["text"])
        return heard

    async def closed(self, *, timeout_s: float) -> int:
        """The code with which it is closed, whatever is said before."""
        while (said := await self.receive_output(timeout_s))["type"] != "websocket.close":
            pass
        return int(said["code"])

    async def say(self, text: str) -> None:
        await self.send_input({"type": "websocket.receive", "text": text})

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(20)
