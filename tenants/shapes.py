"""What pages show of limits, people and the log: labels, links and icons already chosen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from django.urls import reverse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from portal.core.units import gib_label, mib_label
from tenants.journal.models import AuditEntry
from tenants.models import Quota, Tenant, TenantState
from tenants.policy import READ_ONLY
from tenants.selectors import subjects_gone
from tenants.services.quota import DISK_OF, hard_limit
from tenants.words import permission_label

TITLES: Final[dict[str, tuple[str, str | Promise]]] = {
    "guests": ("server-2", gettext_lazy("Machines")),
    "running_guests": ("player-play", gettext_lazy("Running machines")),
    "vcpus": ("cpu", gettext_lazy("vCPUs")),
    "memory_mib": ("device-sd-card", gettext_lazy("Memory")),
    "disk_gib": ("database", gettext_lazy("Disk")),
    "volumes": ("database", gettext_lazy("Volumes")),
    "snapshots": ("camera", gettext_lazy("Snapshots")),
    "backups_gib": ("download", gettext_lazy("Backups")),
    "images": ("photo", gettext_lazy("Images")),
    "images_gib": ("photo", gettext_lazy("Space for images")),
    "networks": ("network", gettext_lazy("Networks")),
    "ports": ("plug-connected", gettext_lazy("Network cards")),
    "addresses": ("world", gettext_lazy("Addresses")),
    "public_addresses": ("world", gettext_lazy("Public addresses")),
    "security_group_rules": ("shield", gettext_lazy("Security group rules")),
    "guest_vcpus": ("cpu", gettext_lazy("vCPUs a machine")),
    "guest_memory_mib": ("device-sd-card", gettext_lazy("Memory a machine")),
    "guest_disk_gib": ("database", gettext_lazy("Disk a machine")),
    "guest_ports": ("plug-connected", gettext_lazy("Network cards a machine")),
    "guest_volumes": ("database", gettext_lazy("Volumes a machine")),
    "guest_snapshots": ("camera", gettext_lazy("Snapshots a machine")),
    "guest_creates_per_day": ("plus", gettext_lazy("New machines a day")),
}
"""Icon and title of every counted resource."""
NO_LIMIT: Final = "∞"
DETAIL_LONGEST: Final = 200
WARN_PERCENT: Final = 80

ROLES: Final[dict[str, tuple[str | Promise, str | Promise]]] = {
    "owner": (gettext_lazy("Owner"), gettext_lazy("Everything, and who else is an owner.")),
    "admin": (gettext_lazy("Admin"), gettext_lazy("Everything but owners: machines, networks, members, tokens.")),
    "member": (gettext_lazy("Member"), gettext_lazy("Machines, keys and consoles; not people.")),
    "viewer": (gettext_lazy("Viewer"), gettext_lazy("Looks at everything, changes nothing, opens no console.")),
    "billing": (gettext_lazy("Billing"), gettext_lazy("What was used and what it costs; nothing else.")),
    "operator": (gettext_lazy("Operator"), gettext_lazy("Runs the installation.")),
}
"""Built-in roles by name: title, and what it may in a sentence."""

DEEDS: Final[dict[str, tuple[str, str | Promise]]] = {
    "guest.create": ("plus", gettext_lazy("created")),
    "guest.clone": ("copy", gettext_lazy("cloned")),
    "guest.edit": ("pencil", gettext_lazy("changed")),
    "guest.delete": ("trash", gettext_lazy("moved to the bin:")),
    "guest.purge": ("trash", gettext_lazy("asked for the removal of")),
    "guest.purged": ("trash", gettext_lazy("removed for good:")),
    "guest.restore": ("arrow-back-up", gettext_lazy("restored")),
    "guest.console": ("terminal-2", gettext_lazy("opened a console of")),
    "guest.start": ("player-play", gettext_lazy("started")),
    "guest.shutdown": ("power", gettext_lazy("shut down")),
    "guest.stop": ("player-stop", gettext_lazy("stopped")),
    "guest.reboot": ("refresh", gettext_lazy("rebooted")),
    "guest.reset": ("rotate", gettext_lazy("reset")),
    "guest.pause": ("player-pause", gettext_lazy("paused")),
    "guest.resume": ("player-play", gettext_lazy("resumed")),
    "guest.suspend": ("moon", gettext_lazy("suspended")),
    "guest.wake": ("sun", gettext_lazy("woke")),
    "key.create": ("key", gettext_lazy("added the SSH key")),
    "key.delete": ("key", gettext_lazy("removed the SSH key")),
    "invitation.send": ("mail", gettext_lazy("invited")),
    "invitation.resend": ("mail", gettext_lazy("invited again")),
    "invitation.revoke": ("mail", gettext_lazy("took back the invitation of")),
    "invitation.accept": ("mail", gettext_lazy("accepted the invitation of")),
    "invitation.decline": ("mail", gettext_lazy("declined the invitation of")),
    "member.add": ("user-plus", gettext_lazy("added the member")),
    "member.role": ("users", gettext_lazy("changed the role of")),
    "member.remove": ("users", gettext_lazy("removed the member")),
    "network.create": ("network", gettext_lazy("created the network")),
    "network.delete": ("network", gettext_lazy("deleted the network")),
    "placement_group.create": ("plus", gettext_lazy("created the placement group")),
    "placement_group.edit": ("pencil", gettext_lazy("renamed the placement group")),
    "placement_group.delete": ("trash", gettext_lazy("deleted the placement group")),
    "operation.cancel": ("x", gettext_lazy("called off")),
    "operation.retry": ("refresh", gettext_lazy("hurried")),
    "quota.set": ("gauge", gettext_lazy("changed the quota of")),
    "quota.ask": ("gauge", gettext_lazy("asked for a larger quota of")),
    "quota.withdraw": ("gauge", gettext_lazy("withdrew a request for a larger quota of")),
    "quota.approve": ("gauge", gettext_lazy("raised the quota of")),
    "quota.grant": ("gauge", gettext_lazy("raised, for a while, the quota of")),
    "quota.decline": ("gauge", gettext_lazy("declined a larger quota of")),
    "tenant.close": ("lock", gettext_lazy("began to close the project")),
    "tenant.closed": ("lock", gettext_lazy("closed the project")),
    "tenant.export": ("arrow-right", gettext_lazy("exported the project")),
    "tenant.reopen": ("lock-open", gettext_lazy("reopened the project")),
    "tenant.create": ("users", gettext_lazy("created the project")),
    "tenant.rename": ("pencil", gettext_lazy("renamed the project")),
    "tenant.suspend": ("lock", gettext_lazy("suspended the project")),
    "tenant.unsuspend": ("lock-open", gettext_lazy("took up again the project")),
    "role.create": ("users", gettext_lazy("made the role")),
    "role.delete": ("users", gettext_lazy("removed the role")),
    "role.edit": ("users", gettext_lazy("changed the role")),
    "token.create": ("key", gettext_lazy("made the API token")),
    "visit.begin": ("eye", gettext_lazy("began a visit in the place of")),
    "visit.end": ("eye", gettext_lazy("ended the visit in the place of")),
    "token.rotate": ("rotate", gettext_lazy("renewed the API token")),
    "token.revoke": ("key", gettext_lazy("revoked the API token")),
    "tenant.require_second_factor": ("shield", gettext_lazy("changed whether a second factor is asked for by")),
}
"""Icon and words of what the log records; the subject's name follows the words."""
EDITS: Final = frozenset({"edit", "rename", "role", "set", "suspend", "unsuspend", "rotate", "require_second_factor"})
"""Verbs whose changes are pairs of before and after."""
FACTS: Final = frozenset(
    {
        "token.create",
        "token.revoke",
        "role.create",
        "role.delete",
        "quota.ask",
        "quota.withdraw",
        "quota.approve",
        "quota.grant",
        "quota.decline",
    }
)
"""What is told with everything that was said of it."""


@dataclass(frozen=True, slots=True)
class Gauge:
    """One limit and how much of it is used; ``level`` is ok, warn or full, ``percent`` 0 to 100."""

    name: str
    icon: str
    label: str
    used_label: str
    limit_label: str
    free_label: str
    percent: float
    level: str


@dataclass(frozen=True, slots=True)
class Link:
    """Something by name; without an address where nothing can be opened."""

    name: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Deed:
    """One entry of the log: who did what to which; ``detail`` is what became of what, in short."""

    pk: Any
    at: datetime
    icon: str
    actor: str
    via: str
    action: str
    text: str
    subject: Link | None
    detail: str
    address: str


def initials(text: str) -> str:
    """One or two letters that stand for a name or an address: ``HS`` for Harbour Studio."""
    words = re.findall(r"[^\W_]+", text.split("@")[0])
    return "".join(word[0] for word in words[:2]).upper() or "?"


def role_label(name: str) -> str:
    """What a role is called; a tenant's own roles by their own name."""
    return str(ROLES[name][0]) if name in ROLES else name


def amount_label(resource: str, amount: int | None) -> str:
    """An amount of a resource with its unit; no limit is ∞."""
    if amount is None:
        return NO_LIMIT
    if resource.endswith("memory_mib"):
        return mib_label(amount)
    return gib_label(amount) if is_gib(resource) else str(amount)


def is_gib(resource: str) -> bool:
    """Is it counted in GiB?"""
    return resource.endswith("_gib") or resource.startswith(DISK_OF)


def resource_title(resource: str) -> tuple[str, str]:
    """Icon and title of a resource; a storage class's disk by the class's name."""
    if resource.startswith(DISK_OF):
        return "database", _("Disk: %s") % resource.removeprefix(DISK_OF)
    icon, title = TITLES[resource]
    return icon, str(title)


def in_unit_of(resource: str, amount: int, limit: int | None) -> str:
    """An amount in the unit that its limit is shown in, without the unit: ``0.2`` of ``32 GiB``."""
    if resource.endswith("memory_mib") and (limit is None or limit >= 1024):
        return f"{amount / 1024:.1f}".removesuffix(".0")
    if is_gib(resource) and limit is not None and limit >= 1024:
        return f"{amount / 1024:.2f}".rstrip("0").rstrip(".")
    return str(amount)


def share(used: int, limit: int | None) -> float:
    """``used`` of ``limit`` in percent; more than 100 where a limit was lowered, 0 without one."""
    if limit is None:
        return 0.0
    return 100.0 * used / limit if limit else (100.0 if used else 0.0)


def level(used: int, limit: int | None) -> str:
    """How near the limit is: full where nothing is left."""
    if limit is None or (limit == 0 and used == 0):
        return "ok"
    return "full" if used >= limit else "warn" if share(used, limit) >= WARN_PERCENT else "ok"


def gauges(rows: Iterable[Quota], only: Sequence[str] = ()) -> list[Gauge]:
    """What is in use and how much may be now, in the order people think of it; ``only`` those resources, if any are named."""
    at = now()
    wanted = [row for row in rows if not only or row.resource in only]
    return [gauge_of(row, row.used, at) for row in sorted(wanted, key=place_of)]


def place_of(row: Quota) -> tuple[int, str]:
    """Sorts resources as people think of them, the disk of each storage class beside all disk."""
    return list(TITLES).index(row.resource.partition(":")[0]), row.resource


def gauge_of(row: Quota, used: int, at: datetime) -> Gauge:
    """One limit as it stands at a moment, and how much of it is used."""
    icon, title = resource_title(row.resource)
    limit = hard_limit(row, at)
    return Gauge(
        name=row.resource,
        icon=icon,
        label=title,
        used_label=amount_label(row.resource, used),
        limit_label=amount_label(row.resource, limit),
        free_label=_free_label(row.resource, used, limit),
        percent=min(100.0, share(used, limit)),
        level=level(used, limit),
    )


def _free_label(resource: str, used: int, limit: int | None) -> str:
    if limit is None:
        return _("No limit")
    return _("%s left") % amount_label(resource, max(0, limit - used))


def deeds(entries: Sequence[AuditEntry], slug: str) -> list[Deed]:
    """Entries of the log in words, with links to machines that are still there; one query."""
    dead = subjects_gone(entries)
    return [_deed(entry, slug, dead) for entry in entries]


def _deed(entry: AuditEntry, slug: str, dead: set[str]) -> Deed:
    icon, words = DEEDS.get(entry.action, ("activity", entry.action))
    return Deed(
        pk=entry.pk,
        at=entry.at,
        icon=icon,
        actor=_("The portal") if entry.actor_id is None else entry.actor_label,
        via="" if entry.via == "browser" else entry.via,
        action=entry.action,
        text=str(words),
        subject=_subject(entry, slug, dead),
        detail=_detail(entry),
        address=entry.address,
    )


def _subject(entry: AuditEntry, slug: str, dead: set[str]) -> Link | None:
    name = entry.subject_name or str(entry.changes.get("member", ""))
    if not name:
        return None
    if entry.subject_type == "guest" and entry.subject_id not in dead:
        return Link(name, reverse("vms:guest_detail", args=[slug, entry.subject_id]))
    return Link(name)


def _detail(entry: AuditEntry) -> str:
    """What was edited, as ``name: web-1 → web-2``, or said, as ``tags: web``, in short; and why, where somebody said."""
    reason, changes = str(entry.changes.get("reason") or ""), sorted(entry.changes.items())
    if entry.action in FACTS:
        said = [f"{_name(name)}: {_word(value)}" for name, value in changes if name != "reason" and value]
        return _short(reason, said)
    if entry.action.rpartition(".")[2] not in EDITS:
        return reason
    pairs = [
        f"{_name(name)}: {_word(value[0])} → {_word(value[1])}"
        for name, value in changes
        if isinstance(value, list) and len(value) == 2
    ]
    return _short(reason, pairs)


def _short(reason: str, parts: Sequence[str]) -> str:
    return " · ".join(part for part in (reason, "; ".join(parts)[:DETAIL_LONGEST]) if part)


def _name(name: str) -> str:
    return str(TITLES[name][1]) if name in TITLES else name.replace("_", " ")


def _word(value: Any) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{_name(name)} {_word(each)}" for name, each in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "–"
    if isinstance(value, bool):
        return _("on") if value else _("off")
    return str(value) if value not in (None, "") else "–"


def scope_labels(permissions: list[str] | None) -> list[str]:
    """What a token may, for its tags: everything, looking, or its permissions one by one."""
    if permissions is None:
        return [_("everything its owner may")]
    looks = permissions and set(permissions) <= READ_ONLY
    return [_("look only")] if looks else [permission_label(value) for value in permissions]


def standing_shown(tenant: Tenant) -> dict[str, Any] | None:
    """Why little can be done in a project now, for the head of its pages; None where it is active."""
    state = tenant.standing
    if state == TenantState.ACTIVE:
        return None
    if state == TenantState.SUSPENDED:
        title, text = _("This project is suspended."), _("It can be looked at, paid for and exported, nothing else.")
    else:
        title = _("This project is being closed.")
        text = _("It can be looked at and exported. Then everything in it is removed:")
    inherited = tenant.state == TenantState.ACTIVE
    reason = _("The project that it belongs to is not active.") if inherited else tenant.state_reason
    return {"title": title, "text": text, "reason": reason, "until": tenant.purge_after}
