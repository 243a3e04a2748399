"""The operations app."""

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """What was asked, how far it got, and telling everybody."""

    name = "operations"

    def ready(self) -> None:
        from operations import events  # noqa: F401  (registers the publisher)
        from operations.services import barring  # noqa: F401  (hears of suspension)
