"""Makes Django's admin the operators' site."""

from collections.abc import Sequence
from typing import Any

from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class OperatorAdminConfig(SimpleAdminConfig):
    """Serves every app's ``admin`` module with our site, and reads them where pages are served: ``portal/urls.py``.

    The stock configuration reads them wherever Django runs; workers, watcher and beat would keep ten megabytes each of pages
    that they never serve.
    """

    default_site = "portal.admin_site.OperatorSite"

    def ready(self) -> None:
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_pages, checks.Tags.admin)


def _check_pages(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[checks.CheckMessage]:
    admin.autodiscover()
    found: list[checks.CheckMessage] = check_admin_app(app_configs, **kwargs)
    return found
