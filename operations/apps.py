"""The operations app."""

from django.apps import AppConfig


class OperationsConfig(AppConfig):
    """What was asked, how far it got, and telling everybody."""

    name = "operations"

    def ready(self) -> None:
        from operations import events, selectors  # noqa: F401  (the publisher; whose events are whose)
        from operations.services import barring  # noqa: F401  (hears of suspension)
