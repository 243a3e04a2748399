"""Where requests go: each app's own urls, the API, and what machines ask."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from portal import probes
from portal.api import api

admin.autodiscover()
handler400 = "portal.core.failures.bad_request"
handler500 = "portal.core.failures.server_error"
urlpatterns = [
    path("healthz", probes.healthz, name="healthz"),
    path("readyz", probes.readyz, name="readyz"),
    path("metrics", probes.metrics, name="metrics"),
    path("api/v1/", api.urls),
    path("operator/", admin.site.urls),
    path("account/", include("tenants.account_urls")),
    path("account/", include("allauth.urls")),
    path("", include("tenants.urls")),
    path("t/<slug:tenant>/", include("vms.urls")),
    path("t/<slug:tenant>/", include("operations.urls")),
    path("t/<slug:tenant>/", include("billing.urls")),
]
