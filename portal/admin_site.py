"""The operators' site: who may enter, its navigation and its dashboard."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache, wraps
from typing import Any
from urllib.parse import urlencode

from django.contrib import admin, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from billing.views.revenue import revenue_shown
from portal import probes
from portal.admin_base import ServiceAdmin, actor_of, deed_log
from portal.core.clock import now
from portal.core.errors import Conflict, Missing
from portal.settings.env import BASE_DIR
from tenants.listings import quota_requests_waiting
from vms.models import Image
from vms.selectors.fleet import fleet_overview
from vms.selectors.image_catalogue import catalogue_offers
from vms.services.image_catalogue import catalogue_fetch


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the navigation: a list of the site."""

    label: str | Promise
    icon: str
    page: str


NAVIGATION: tuple[tuple[str | Promise, tuple[Entry, ...]], ...] = (
    (
        "",
        (
            Entry(_("Dashboard"), "layout-dashboard", "index"),
            Entry(_("Hosts"), "server-2", "vms_host_changelist"),
            Entry(_("Machines"), "device-desktop", "vms_guest_changelist"),
            Entry(_("Host pools"), "cube", "vms_hostpool_changelist"),
            Entry(_("Fabrics"), "network", "vms_fabric_changelist"),
            Entry(_("Storage pools"), "database", "vms_storagepool_changelist"),
            Entry(_("Backup stores"), "history", "vms_backupstore_changelist"),
            Entry(_("Images on hosts"), "photo", "vms_imagecopy_changelist"),
        ),
    ),
    (
        _("Customers"),
        (
            Entry(_("Tenants"), "users", "tenants_tenant_changelist"),
            Entry(_("People"), "user", "tenants_user_changelist"),
            Entry(_("Members"), "user-plus", "tenants_member_changelist"),
            Entry(_("API tokens"), "key", "tenants_apitoken_changelist"),
            Entry(_("Sign-in providers"), "login-2", "socialaccount_socialapp_changelist"),
            Entry(_("Mail domains"), "world", "tenants_signindomain_changelist"),
            Entry(_("Quota requests"), "gauge", "tenants_quotarequest_changelist"),
            Entry(_("Flavors"), "cpu", "vms_flavor_changelist"),
            Entry(_("Storage classes"), "database", "vms_storageclass_changelist"),
            Entry(_("Images"), "photo", "vms_image_changelist"),
            Entry(_("Catalogue"), "download", "catalogue"),
            Entry(_("Price lists"), "tag", "billing_pricelist_changelist"),
            Entry(_("Prices"), "tag", "billing_price_changelist"),
            Entry(_("Revenue"), "receipt", "revenue"),
        ),
    ),
    (
        _("Running it"),
        (
            Entry(_("Operations"), "activity", "operations_operation_changelist"),
            Entry(_("Drift"), "arrows-right-left", "vms_drift_changelist"),
            Entry(_("Addresses"), "network", "vms_addressuse_changelist"),
            Entry(_("Audit log"), "file-text", "tenants_auditentry_changelist"),
            Entry(_("Installation's log"), "history", "tenants_installationentry_changelist"),
            Entry(_("Mail"), "mail", "tenants_letter_changelist"),
            Entry(_("Operators' log"), "shield", "admin_logentry_changelist"),
        ),
    ),
)


class OperatorSite(admin.AdminSite):
    """Django's admin behind the portal's own sign-in, for operators alone: to everybody else nothing is here."""

    site_title = site_header = "Guesthouse"
    index_title = _("Dashboard")
    enable_nav_sidebar = False

    def __init__(self, name: str = "admin") -> None:
        super().__init__(name)
        self.disable_action("delete_selected")

    def register(self, model_or_iterable: Any, admin_class: Any = None, **options: Any) -> None:
        """Only pages that write through services; those that libraries bring along do not, and are left out."""
        if admin_class is not None and issubclass(admin_class, ServiceAdmin):
            super().register(model_or_iterable, admin_class, **options)

    def has_permission(self, request: HttpRequest) -> bool:
        actor = getattr(request, "actor", None)
        return actor is not None and actor.is_operator and actor.via == "browser"

    def admin_view(self, view: Any, cacheable: bool = False) -> Any:
        """A page of the site; 404 for who is signed in and no operator, so that nothing tells it apart from no page."""

        inner = super().admin_view(view, cacheable)

        @wraps(inner)
        def guarded(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            if request.user.is_authenticated and not self.has_permission(request):
                raise Http404
            answer: HttpResponseBase = inner(request, *args, **kwargs)
            return answer

        return guarded

    def login(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> HttpResponse:
        """The portal's own sign-in, which knows second factors and rate limits."""
        if request.user.is_authenticated and not self.has_permission(request):
            raise Http404
        wanted = request.GET.get("next") or reverse("admin:index")
        return HttpResponseRedirect(f"{reverse('account_login')}?{urlencode({'next': wanted})}")

    def logout(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return HttpResponseRedirect(reverse("account_logout"))

    def password_change(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> Any:
        return HttpResponseRedirect(reverse("account_change_password"))

    def app_index(self, request: HttpRequest, app_label: str, extra_context: dict[str, Any] | None = None) -> Any:
        """Apps mean nothing to an operator."""
        return HttpResponseRedirect(reverse("admin:index"))

    def get_urls(self) -> list[Any]:
        return [
            path("catalogue/", self.admin_view(self.catalogue), name="catalogue"),
            path("revenue/", self.admin_view(self.revenue), name="revenue"),
            *super().get_urls(),
        ]

    def revenue(self, request: HttpRequest) -> HttpResponse:
        """What projects owe for a month, what another list would make of it, and what is late."""
        facts = revenue_shown(request.GET.get("month", ""), request.GET.get("list", ""))
        context = {**self.each_context(request), "title": _("Revenue"), **facts}
        return TemplateResponse(request, "admin/revenue.html", context)

    def catalogue(self, request: HttpRequest) -> HttpResponse:
        """Well-known images, and the button that has one fetched."""
        if request.method == "POST":
            self._fetch(request, request.POST.get("key", ""))
            return HttpResponseRedirect(reverse("admin:catalogue"))
        context = {**self.each_context(request), "title": _("Catalogue"), "offers": catalogue_offers()}
        return TemplateResponse(request, "admin/catalogue.html", context)

    def _fetch(self, request: HttpRequest, key: str) -> None:
        """Ask for an image of the catalogue, with an entry in the operators' log."""
        actor = actor_of(request)
        try:
            with transaction.atomic():
                image, _operation = catalogue_fetch(key, actor=actor)
                said = gettext("%s is coming in.") % image
                deed_log(actor, Image, None, gettext("Catalogue"), said)
        except Missing as error:
            raise Http404 from error
        except Conflict as error:
            messages.error(request, error.sentence)
            return
        messages.success(request, said)

    def each_context(self, request: HttpRequest) -> dict[str, Any]:
        waiting = quota_requests_waiting()
        counts = {"tenants_quotarequest_changelist": waiting}
        return {
            **super().each_context(request),
            "navigation": list(_navigation(request.path, counts)),
            "quota_waiting": waiting,
        }

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """None: the navigation is ours."""
        return []

    def index(self, request: HttpRequest, extra_context: dict[str, Any] | None = None) -> TemplateResponse:
        """The dashboard: what is broken, how full it is, and what runs."""
        context = {
            **self.each_context(request),
            "title": self.index_title,
            "fleet": fleet_overview(at=now()),
            "parts_down": [name for name, state in probes.parts().items() if state != "ok"],
            "version": version(),
        }
        return TemplateResponse(request, "admin/index.html", context)


def _navigation(path: str, counts: Mapping[str, int]) -> Any:
    """The lines of the sidebar; ``counts`` says of how much of something waits there, by page."""
    for label, entries in NAVIGATION:
        lines = []
        for entry in entries:
            address = reverse(f"admin:{entry.page}")
            current = path == address if entry.page == "index" else path.startswith(address)
            lines.append(
                {
                    "label": entry.label,
                    "icon": entry.icon,
                    "url": address,
                    "current": current,
                    "count": counts.get(entry.page, 0),
                }
            )
        yield {"label": label, "items": lines}


@lru_cache(maxsize=1)
def version() -> str:
    """The portal's own version, as its project file has it."""
    project: dict[str, Any] = tomllib.loads((BASE_DIR / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])
