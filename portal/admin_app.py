"""Makes Django's admin the operators' site."""

from django.contrib.admin.apps import AdminConfig


class OperatorAdminConfig(AdminConfig):
    """Finds every app's ``admin`` module, as the stock configuration does, and serves them with our site."""

    default_site = "portal.admin_site.OperatorSite"
