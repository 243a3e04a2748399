"""The portal over WSGI: pages and REST; ``portal.asgi`` serves it in threads beside the WebSockets."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings.embedded")
application = get_wsgi_application()
