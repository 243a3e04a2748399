"""WebSockets are opened by our own pages only: exactly one Origin, exactly ours. Absent is refused too."""

from __future__ import annotations

from django.conf import settings

from portal.core.front import App, Receive, Scope, Send


class ExactOrigin:
    """Refuses (403 before the upgrade) a WebSocket whose ``Origin`` is not the portal's own."""

    def __init__(self, app: App) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        origins = [value for name, value in scope.get("headers", []) if name == b"origin"]
        if origins != [settings.PUBLIC_URL.encode()]:
            await send({"type": "websocket.close", "code": 4403})
            return
        await self.app(scope, receive, send)
