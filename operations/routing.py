"""Where WebSockets go."""

from django.urls import path

from operations.consumers import EventConsumer

websocket_urlpatterns = [path("ws/t/<slug:tenant>/events", EventConsumer.as_asgi())]
