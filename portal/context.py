"""What every page's shell shows: where one is, where one can go, who one is, what is running."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.utils.translation import gettext as _

from operations.selectors import operations_running
from tenants.access import AT_THE_DOOR
from tenants.actors import Actor
from tenants.listings import notices_unread
from tenants.models import Tenant
from tenants.policy import Permission
from tenants.shapes import initials, role_label, standing_shown
from tenants.visiting import visit_shown

P = Permission


def shell(request: HttpRequest) -> dict[str, Any]:
    """``shell`` for ``templates/shell.html``; built only where a template asks, so that partials cost nothing."""
    return {"shell": SimpleLazyObject(lambda: _shell(request))}


def _shell(request: HttpRequest) -> dict[str, Any]:
    actor: Actor | None = getattr(request, "actor", None)
    if actor is None or actor.user is None:
        return {"tenant": None, "nav": [], "user": None, "is_operator": False}
    facts: dict[str, Any] = {
        "tenant": None,
        "nav": _own_navigation(request),
        "user": {
            "pk": actor.user.pk,
            "name": actor.user.label,
            "email": actor.user.email,
            "initials": initials(actor.user.label),
        },
        "unread": notices_unread(actor.user),
        "is_operator": actor.user.is_staff,
        "visit": None,
    }
    if actor.tenant is not None and actor.permissions != AT_THE_DOOR:
        facts |= _inside(request, actor, actor.tenant)
    return facts


def _inside(request: HttpRequest, actor: Actor, tenant: Tenant) -> dict[str, Any]:
    return {
        "tenant": {"slug": tenant.slug, "name": tenant.name, "initials": initials(tenant.name)},
        "role_label": role_label(actor.role),
        "nav": _navigation(request, actor, tenant.slug),
        "visit": visit_shown(actor),
        "running": operations_running(actor) if actor.may(P.OPERATION_VIEW) else 0,
        "hears": actor.may(P.EVENT_VIEW),
        "finds": actor.may(P.GUEST_VIEW),
        "seq": getattr(request, "event_seq", None),
        "standing": standing_shown(tenant),
    }


def _own_navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """The sidebar where one is in no tenant: the pages of the person."""
    home, notices, account = reverse("tenants:home"), reverse("tenants:notice_list"), reverse("account:profile")
    in_account = request.path.startswith("/account/") and request.path != notices
    entries = [
        (_("Projects"), "layout-dashboard", home, request.path == home),
        (_("Notices"), "bell", notices, request.path == notices),
        (_("Account"), "user", account, in_account),
    ]
    items = [
        {"label": words, "icon": icon, "url": url, "current": here, "count": None} for words, icon, url, here in entries
    ]
    return [{"label": "", "items": items}]


def _navigation(request: HttpRequest, actor: Actor, slug: str) -> list[dict[str, Any]]:
    """The sidebar's groups, without what the role may not look at."""
    groups: list[tuple[str, list[tuple[str, str, str, Permission]]]] = [
        (
            "",
            [
                (_("Overview"), "layout-dashboard", "vms:overview", P.TENANT_VIEW),
                (_("Virtual machines"), "server-2", "vms:guest_list", P.GUEST_VIEW),
                (_("Volumes"), "database", "vms:volume_list", P.VOLUME_VIEW),
                (_("Snapshots"), "camera", "vms:snapshot_list", P.SNAPSHOT_VIEW),
                (_("Exports"), "download", "vms:disk_export_list", P.SNAPSHOT_VIEW),
                (_("Backups"), "history", "vms:backup_list", P.BACKUP_VIEW),
                (_("Images"), "photo", "vms:image_list", P.IMAGE_VIEW),
                (_("Networks"), "network", "vms:network_list", P.NETWORK_VIEW),
                (_("Security groups"), "shield", "vms:group_list", P.NETWORK_VIEW),
                (_("Placement groups"), "arrows-right-left", "vms:placement_group_list", P.PLACEMENT_VIEW),
                (_("SSH keys"), "key", "vms:key_list", P.KEY_VIEW),
            ],
        ),
        (
            _("Organisation"),
            [
                (_("Activity"), "activity", "operations:operation_list", P.OPERATION_VIEW),
                (_("Audit log"), "history", "tenants:audit_list", P.AUDIT_VIEW),
                (_("Members"), "users", "tenants:member_list", P.MEMBER_VIEW),
                (_("API tokens"), "terminal-2", "tenants:token_list", P.TOKEN_VIEW),
                (_("Quota"), "gauge", "tenants:quota", P.QUOTA_VIEW),
                (_("Usage and bill"), "receipt", "billing:bill", P.USAGE_VIEW),
                (_("Settings"), "settings", "tenants:settings", P.TENANT_VIEW),
            ],
        ),
    ]
    here = request.path
    shown = []
    for label, entries in groups:
        items = []
        for words, icon, name, permission in entries:
            if actor.may(permission):
                url = _url(name, slug)
                current = here == url if name == "vms:overview" else here.startswith(url)
                items.append({"label": words, "icon": icon, "url": url, "current": current, "count": None})
        if items:
            shown.append({"label": label, "items": items})
    return shown


@lru_cache(maxsize=4096)
def _url(name: str, slug: str) -> str:
    """The same as ``reverse``, which a dozen times on every page costs as much as two queries."""
    return reverse(name, args=[slug])
