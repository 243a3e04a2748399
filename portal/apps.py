"""The portal app."""

from django.apps import AppConfig


class PortalConfig(AppConfig):
    """Wiring; makes our Celery app the current one wherever Django runs."""

    name = "portal"

    def ready(self) -> None:
        from portal import celery  # noqa: F401
