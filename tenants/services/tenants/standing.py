"""How a tenant stands: active, suspended, closing. Each step reaches everybody below it, and whatever they have open.

Suspended: people may read, pay and export, nothing else; what waits to be done for them is not begun. Closing: the same,
until ``purge_after``; then ``tenants.services.ending`` takes everything away.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Tenant, TenantState
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import every_tenant
from tenants.services.tenants.telling import families_tell, owners_tell

STOP, KEEP = "stop", "keep"
POLICIES: Final = (STOP, KEEP)
"""What becomes of a suspended tenant's machines."""
ACTIVE, SUSPENDED, CLOSING, CLOSED = TenantState.ACTIVE, TenantState.SUSPENDED, TenantState.CLOSING, TenantState.CLOSED
ENDED: Final = frozenset({CLOSING, CLOSED})


@transaction.atomic
def tenant_suspend(tenant: Tenant, *, reason: str, actor: Actor, guests: str = STOP) -> Tenant:
    """Leave a tenant's people, and those of its children, nothing but to read, pay and export, and tell them why.

    Its machines stop, or with ``guests="keep"`` go on running. Consoles close, what was asked for and has not begun is called
    off. Repeated, it changes the reason and what becomes of the machines.
    """
    actor.require(Permission.OPERATE)
    if guests not in POLICIES:
        raise Invalid(errors=[FieldError("/guests", "invalid_choice", _("Choose stop or keep."))])
    tenant = _locked(tenant)
    if tenant.state in ENDED:
        raise Conflict(_("This project is closed or being closed."), code="tenant_closing", hint="")
    facts = {"state_reason": reason or tenant.state_reason, "keeps_guests": guests == KEEP, "held": True}
    return _move(tenant, SUSPENDED, "tenant.suspend", reason=reason, actor=actor, **facts)


@transaction.atomic
def tenant_unsuspend(tenant: Tenant, *, reason: str = "", actor: Actor) -> Tenant:
    """Take a suspended tenant up again; its machines stay as they are. Active already is fine."""
    actor.require(Permission.OPERATE)
    tenant = _locked(tenant)
    if tenant.state in ENDED:
        raise Conflict(_("This project is closed or being closed."), code="tenant_closing", hint="")
    return _move(tenant, ACTIVE, "tenant.unsuspend", reason=reason, actor=actor, **_TAKEN_UP)


@transaction.atomic
def tenant_close(tenant: Tenant, *, confirm: str, actor: Actor, reason: str = "") -> Tenant:
    """Begin a tenant's end: its machines stop, its people may read and export, and after a grace everything is taken away.

    ``confirm`` is its short name, typed. What its owner closes an operator may close, too: then only an operator reopens it.
    Raises ``Conflict`` while it has children that are not being closed.
    """
    _require(actor, tenant)
    if confirm != tenant.slug:
        message = _("Type %s to confirm.") % tenant.slug
        raise Invalid(errors=[FieldError("/confirm", "not_confirmed", message)])
    tenant = _locked(tenant)
    if tenant.state == CLOSED:
        raise Conflict(_("This project is closed."), code="tenant_closed", hint="")
    if tenant.state == CLOSING:
        if tenant.held or not actor.is_operator:
            return tenant
        facts = {"state_reason": reason or tenant.state_reason, "held": True}
        return _move(tenant, CLOSING, "tenant.close", reason=reason, actor=actor, **facts)
    if tenant.children.exclude(state__in=ENDED).exists():
        raise Conflict(
            _("Other projects belong to this one."),
            code="has_children",
            hint=_("Close those first."),
        )
    facts = {"state_reason": reason, "purge_after": now() + settings.CLOSING_GRACE, "held": actor.is_operator}
    return _move(tenant, CLOSING, "tenant.close", reason=reason, actor=actor, **facts)


@transaction.atomic
def tenant_reopen(tenant: Tenant, *, actor: Actor, reason: str = "") -> Tenant:
    """Think again while the grace lasts: active as before, with everything that was there; machines stay stopped.

    What an operator closed only an operator reopens. Raises ``Conflict`` once the grace is over.
    """
    _require(actor, tenant)
    tenant = _locked(tenant)
    if tenant.state != CLOSING or tenant.purge_after is None:
        raise Conflict(_("This project is not being closed."), code="not_closing", hint="")
    if tenant.purge_after <= now():
        raise Conflict(_("The time to think again is over."), code="purging", hint=_("Its things are being removed."))
    if tenant.held and not actor.is_operator:
        raise Conflict(_("An operator closes this project."), code="held", hint=_("Ask the operator."))
    if any(above.state in ENDED for above in tenant.line() if above.pk != tenant.pk):
        raise Conflict(_("The project above it is being closed."), code="parent_not_active", hint="")
    return _move(tenant, ACTIVE, "tenant.reopen", reason=reason, actor=actor, **_TAKEN_UP)


_TAKEN_UP: Final[dict[str, Any]] = {"state_reason": "", "keeps_guests": False, "held": False, "purge_after": None}


def _require(actor: Actor, tenant: Tenant) -> None:
    """Owners in their tenant; operators at their own desk, too."""
    actor.require(Permission.OPERATE if actor.tenant is None else Permission.TENANT_CLOSE, tenant)


def _locked(tenant: Tenant) -> Tenant:
    """The row, locked; rows that point at it may be written meanwhile, and its journal is locked after its machines."""
    return Tenant.objects.select_for_update(no_key=True).get(pk=tenant.pk)


def _move(tenant: Tenant, state: TenantState, action: str, *, reason: str, actor: Actor, **facts: Any) -> Tenant:
    """Write how the tenant stands from now on, and have everybody it concerns look again."""
    if tenant.state == state and all(getattr(tenant, name) == value for name, value in facts.items()):
        return tenant
    since, before = tenant.state_since, tenant.state
    with every_tenant(why="a tenant's standing was that of those below it"):
        stood = {one.pk: one.standing for one in _family(tenant)}
    changes = {name: [getattr(tenant, name), value] for name, value in facts.items() if getattr(tenant, name) != value}
    tenant.state, tenant.version = state, tenant.version + 1
    tenant.state_since = now() if before != state else since
    for name, value in facts.items():
        setattr(tenant, name, value)
    tenant.save(update_fields=["state", "state_since", "version", *facts])
    with every_tenant(why="a tenant's standing reaches those below it"):
        family = list(_family(tenant))
        for one in family:
            if state == ACTIVE and one.is_active:
                announce("tenant.revived", tenant=one, since=since)
        if not tenant.may_run:
            announce("tenant.suspended", tenant=tenant, actor=actor)
        changes.pop("state_reason", None)
        audit_record(actor, action, tenant, tenant=tenant, state=[before, state.value], reason=reason, **changes)
        for one in family:
            event_append(one, "tenant.changed", "tenant", one.pk)
            if state not in (ACTIVE, before):
                announce("tenant.halted", tenant=one)
                announce("access.revoked", user=None, tenant=one, session="", reason=f"tenant {state.value}")
        owners_tell(tenant, action, reason=reason)  # after its event: what is announced keeps its order
        families_tell([one for one in family[1:] if one.standing != stood.get(one.pk, before)], action)
    return tenant


def tenants_down() -> list[Tenant]:
    """Every tenant that is not active, by its own state or that of one above, but for those that are closed."""
    roots = Tenant.objects.filter(state__in=[SUSPENDED, CLOSING]).select_related("parent").order_by("pk")
    return list({one.pk: one for root in roots for one in _family(root)}.values())


def _family(tenant: Tenant) -> Iterator[Tenant]:
    """The tenant and all below it that are not closed; ordered, since their journals are locked in this order."""
    yield tenant
    for child in Tenant.objects.filter(parent=tenant).exclude(state=CLOSED).order_by("pk"):
        child.parent = tenant
        yield from _family(child)
