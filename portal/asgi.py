"""One port for pages, REST and live updates: HTTP through a thread pool (WSGI), WebSockets through Channels.

HTTP runs Django under WSGI on purpose: its own ASGI path costs 2–5 times the CPU a request.
"""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.embedded")

from portal.wsgi import application as wsgi  # noqa: E402  (Django must be set up first)

from a2wsgi import WSGIMiddleware  # noqa: E402
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from operations.routing import websocket_urlpatterns  # noqa: E402
from operations.waiting import LongPoll  # noqa: E402
from portal.core.front import BodyFirst  # noqa: E402
from portal.core.origin import ExactOrigin  # noqa: E402

THREADS = 10

application = ProtocolTypeRouter(
    {
        "http": BodyFirst(LongPoll(WSGIMiddleware(wsgi, workers=THREADS))),
        "websocket": ExactOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
