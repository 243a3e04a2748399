"""Operators in a tenant's pages: in a member's place, with a reason and an end, written into the tenant's own log.

Nobody is signed in as anybody else: the session stays the operator's, and only what they may in this tenant changes. So no
account page, password or token of the member is ever within reach.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from django.db import transaction
from django.utils.translation import gettext_lazy as _

from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor, system_actor
from tenants.journal.audit import audit_record
from tenants.models import Member, NoticeKind, Tenant, User, Visit
from tenants.policy import Permission
from tenants.reactions import announce
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.notices import notice_send

SHORTEST, LONGEST = timedelta(minutes=5), timedelta(hours=4)
REASON_LEAST: Final = 10


@transaction.atomic
def visit_begin(
    tenant: Tenant, member: Member, *, reason: str, lasts: timedelta, may_change: bool, actor: Actor
) -> Visit:
    """Let an operator see what ``member`` sees, for a while; only to look, unless ``may_change``.

    Bound to the session of ``actor``; a visit that this session is on ends. The tenant's log has it, and its owners are told.
    """
    actor.require(Permission.OPERATE)
    operator = actor.user
    if operator is None or not actor.session or member.tenant_id != tenant.pk:
        raise ValueError("a visit needs an operator's browser session and a member of the tenant")
    reason = reason.strip()
    if not REASON_LEAST <= len(reason) <= 500 or not reason.isprintable():
        message = _("Say why in a sentence; the project's people read it.")
        raise Invalid(errors=[FieldError("/reason", "invalid_reason", str(message))])
    if not SHORTEST <= lasts <= LONGEST:
        raise Invalid(errors=[FieldError("/minutes", "out_of_range", str(_("Between 5 minutes and 4 hours.")))])
    with every_tenant(why="a session is on one visit at a time"):
        for old in Visit.objects.select_for_update().filter(session=actor.session, ended_at=None):
            _end(old, actor)
    at = now()
    visit: Visit = Visit.objects.create(
        tenant=tenant,
        operator=operator,
        member=member,
        reason=reason,
        may_change=may_change,
        session=actor.session,
        started_at=at,
        until=at + lasts,
    )
    audit_record(
        actor,
        "visit.begin",
        member,
        tenant=tenant,
        member=member.user.email,
        reason=reason,
        until=visit.until.isoformat(timespec="seconds"),
        may_change=may_change,
    )
    notice_send(
        tenant,
        Permission.OWNER_MANAGE,
        NoticeKind.VISIT,
        subject=_("An operator acts in your project"),
        text=_("Why: “%(reason)s” What they do stands in the audit log.") % {"reason": reason},
        url=f"/t/{tenant.slug}/audit/",
    )
    return visit


@transaction.atomic
def visit_end(visit: Visit, *, actor: Actor) -> None:
    """End a visit at once, with what it has open. Over already is fine."""
    visit = Visit.objects.select_for_update(of=("self",)).get(pk=visit.pk)
    if actor.user is None or actor.user.pk != visit.operator_id:
        actor.require(Permission.OPERATE)
    if visit.ended_at is None:
        _end(visit, actor)


def _end(visit: Visit, actor: Actor) -> None:
    visit.ended_at = now()
    visit.save(update_fields=["ended_at"])
    audit_record(actor, "visit.end", visit.member, tenant=visit.tenant, reason=visit.reason)
    announce("access.revoked", user=visit.operator, tenant=visit.tenant, session="", reason="visit ended")


def visits_end_due() -> int:
    """End the visits whose time is over, so that what they hold open closes; how many. Safe to repeat."""
    with every_tenant(why="visits end in time, in whichever tenant"):
        due = list(Visit.objects.filter(ended_at=None, until__lte=now()).select_related("tenant"))
    for visit in due:
        with tenant_scope(visit.tenant):
            visit_end(visit, actor=system_actor(visit.tenant, why="time"))
    return len(due)


def visit_living(operator: User, tenant: Tenant, session: str) -> Visit | None:
    """The visit that this session of ``operator`` is on in ``tenant`` now, if its member is still one."""
    if not session:
        return None
    rows = Visit.objects.select_related("member__user", "member__role")
    return rows.filter(
        operator=operator,
        tenant=tenant,
        session=session,
        ended_at=None,
        until__gt=now(),
        member__isnull=False,
        member__user__is_active=True,
    ).first()
