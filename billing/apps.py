"""The billing app."""

from django.apps import AppConfig


class BillingConfig(AppConfig):
    """What things cost; the rooms below it ask through ``portal.core.ports``."""

    name = "billing"

    def ready(self) -> None:
        from billing.selectors import prices  # noqa: F401  (answers what things cost)
