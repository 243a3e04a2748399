"""The tenants app."""

from django.apps import AppConfig


class TenantsConfig(AppConfig):
    """Who you are, whose rows you see, how much you may use."""

    name = "tenants"

    def ready(self) -> None:
        from tenants.accounts import record, signals  # noqa: F401  (connects them)
