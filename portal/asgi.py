"""One port for pages, REST and live updates: HTTP through a thread pool (WSGI), WebSockets through Channels.

HTTP runs Django under WSGI on purpose: its own ASGI path costs 2–5 times the CPU a request.
"""

import os
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.embedded")

from portal.wsgi import application as wsgi

# That has set Django up, which what follows needs.
# isort: split

from a2wsgi import WSGIMiddleware
from channels.auth import AuthMiddlewareStack
from channels.routing import ProtocolTypeRouter, URLRouter

from operations.routing import websocket_urlpatterns
from operations.waiting import LongPoll
from portal.core.front import BodyFirst
from portal.core.origin import ExactOrigin
from portal.core.sendfile import SendFile

THREADS = 10

threads: Any = WSGIMiddleware(cast(Any, wsgi), workers=THREADS)
application = ProtocolTypeRouter(
    {
        "http": BodyFirst(LongPoll(SendFile(threads))),
        "websocket": ExactOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
