"""Wishes for more: a tenant asks with a reason, an operator gives, for good or until a date, or says why not.

What a grant raised ends by itself, since every reservation reckons with the time (``reckon.hard_limit``); nothing that runs
is stopped by its end. Lock order: the request, then the gates of its tenant.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final

from django.conf import settings
from django.db import transaction
from django.urls import reverse
from django.utils.functional import Promise
from django.utils.text import format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from portal.core.clock import now
from portal.core.errors import Conflict, FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import NoticeKind, Quota, QuotaRequest, RequestState, Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.notices import notice_send
from tenants.services.quota.limits import refuse_unknown
from tenants.services.quota.reserve import quota_lock

KEPT: Final = 100
"""So many decided requests of a tenant are kept; the oldest go first. The audit log keeps them all."""
TEXT_MAX: Final = 1000
type Wanted = Mapping[str, int]
"""Limits by resource."""


@transaction.atomic
def quota_request_make(
    tenant: Tenant, wanted: Wanted, *, reason: str, actor: Actor, until: datetime | None = None
) -> QuotaRequest:
    """Ask for these limits; ``until`` is how long they are needed, None for good.

    Raises ``Invalid`` where a limit is none or not above the present one, and ``Conflict`` while too many wait already.
    """
    actor.require(Permission.QUOTA_REQUEST)
    reason = _checked_text(reason, "/reason", needed=True)
    _refuse_past(until)
    if not wanted:
        raise Invalid(errors=[FieldError("/wanted", "required", _("Say what is needed."))])
    refuse_unknown(wanted, place="/wanted")
    quota_lock(tenant)
    _refuse_no_more(tenant, wanted, place="/wanted")
    rows = QuotaRequest.objects.filter(tenant=tenant)
    if rows.filter(state=RequestState.PENDING).count() >= settings.CAPS["quota_requests"]:
        raise Conflict(
            _("As many requests are waiting as can."), code="too_many_requests", hint=_("Withdraw one, or wait.")
        )
    old = rows.exclude(state=RequestState.PENDING).order_by("-created_at", "-pk").values_list("pk", flat=True)[KEPT:]
    rows.filter(pk__in=list(old)).delete()
    request = QuotaRequest.objects.create(
        tenant=tenant, wanted=dict(wanted), wanted_until=until, reason=reason, asked_by=actor.user
    )
    audit_record(actor, "quota.ask", tenant, tenant=tenant, wanted=dict(wanted), until=until, reason=reason)
    _tell_pages(request)
    return request


@transaction.atomic
def quota_request_withdraw(request: QuotaRequest, *, actor: Actor) -> QuotaRequest:
    """Take a waiting request back; raises ``Conflict`` once it is decided."""
    actor.require(Permission.QUOTA_REQUEST, request)
    request = _pending(request)
    request.state = RequestState.WITHDRAWN
    request.version += 1
    request.save(update_fields=["state", "version"])
    audit_record(actor, "quota.withdraw", request.tenant, tenant=request.tenant, wanted=request.wanted)
    _tell_pages(request)
    return request


@transaction.atomic
def quota_request_approve(
    request: QuotaRequest,
    *,
    actor: Actor,
    limits: Wanted | None = None,
    until: datetime | None = None,
    answer: str = "",
) -> QuotaRequest:
    """Give ``limits`` (those asked for, where None; fewer or lower ones are fine), for good or until a moment.

    Raises ``Invalid`` for what was not asked for, is no more than now, takes away from a grant that has not ended, or ends in
    the past; ``Conflict`` once it is decided.
    """
    actor.require(Permission.OPERATE)
    answer = _checked_text(answer, "/answer", needed=False)
    _refuse_past(until)
    with tenant_scope(request.tenant):
        request = _pending(request)
        given = dict(request.wanted if limits is None else limits)
        _refuse_unasked(given, request.wanted)
        refuse_unknown(given, place="/limits")
        quota_lock(request.tenant)
        _refuse_no_more(request.tenant, given, place="/limits")
        if until is not None:
            _refuse_less(request.tenant, given, until)
        for row in Quota.objects.filter(tenant=request.tenant, resource__in=given):
            if until is None:
                row.limit = given[row.resource]
            else:
                row.grant_limit, row.grant_until = given[row.resource], until
            row.save(update_fields=["limit", "grant_limit", "grant_until"])
        request.given, request.until = given, until
        request.state = RequestState.APPROVED if until is None else RequestState.GRANTED
        _decide(request, answer, actor=actor, action="quota.approve" if until is None else "quota.grant")
        event_append(request.tenant, "quota.changed", "quota", request.tenant.pk)
    return request


@transaction.atomic
def quota_request_decline(request: QuotaRequest, *, answer: str, actor: Actor) -> QuotaRequest:
    """Say no, and why; raises ``Conflict`` once it is decided."""
    actor.require(Permission.OPERATE)
    answer = _checked_text(answer, "/answer", needed=True)
    with tenant_scope(request.tenant):
        request = _pending(request)
        request.state = RequestState.DECLINED
        _decide(request, answer, actor=actor, action="quota.decline")
    return request


def _pending(request: QuotaRequest) -> QuotaRequest:
    request = (
        QuotaRequest.objects.select_for_update(of=("self",)).select_related("tenant", "asked_by").get(pk=request.pk)
    )
    if request.state != RequestState.PENDING:
        raise Conflict(_("This request has been decided already."), code="request_over", hint="")
    return request


def _decide(request: QuotaRequest, answer: str, *, actor: Actor, action: str) -> None:
    """Who decided, when and in which words; told to whoever asked."""
    request.answer, request.decided_by, request.decided_at = answer, actor.user, now()
    request.version += 1
    request.save()
    tenant = request.tenant
    audit_record(actor, action, tenant, tenant=tenant, given=request.given, until=request.until, answer=answer)
    if request.asked_by is not None:
        subject, text = _news(request)
        url = reverse("tenants:quota", args=[tenant.slug])
        notice_send(tenant, [request.asked_by], NoticeKind.QUOTA, subject=subject, text=text, url=url)
    _tell_pages(request)


def _news(request: QuotaRequest) -> tuple[str | Promise, str | Promise]:
    """What the asker reads: one line, and the operator's words."""
    name = request.tenant.name
    if request.state == RequestState.DECLINED:
        return format_lazy(gettext_lazy("{tenant}: the quota stays as it is"), tenant=name), request.answer
    if request.until is None:
        return format_lazy(gettext_lazy("{tenant}: the quota has been raised"), tenant=name), request.answer
    day = request.until.date().isoformat()
    subject = format_lazy(gettext_lazy("{tenant}: the quota is raised until {day}"), tenant=name, day=day)
    return subject, request.answer


def _tell_pages(request: QuotaRequest) -> None:
    event_append(request.tenant, "quota_request.changed", "quota_request", request.pk)


def _checked_text(text: str, pointer: str, *, needed: bool) -> str:
    text = text.strip()
    if (needed and not text) or len(text) > TEXT_MAX:
        message = _("Some words are needed, at most %d characters.") % TEXT_MAX
        raise Invalid(errors=[FieldError(pointer, "invalid_text", message)])
    return text


def _refuse_past(until: datetime | None) -> None:
    if until is not None and until <= now():
        raise Invalid(errors=[FieldError("/until", "in_the_past", _("Choose a moment to come."))])


def _refuse_unasked(given: Wanted, wanted: Wanted) -> None:
    unasked = [name for name in given if name not in wanted]
    if unasked or not given:
        message = _("Nobody asked for this.") if unasked else _("Say what is given.")
        raise Invalid(errors=[FieldError(f"/limits/{name}", "not_asked_for", message) for name in unasked or [""]])


def _refuse_no_more(tenant: Tenant, limits: Wanted, *, place: str) -> None:
    """A limit that is no higher than the present one; the gates are held. What has no limit cannot be raised."""
    known = dict(Quota.objects.filter(tenant=tenant, resource__in=limits).values_list("resource", "limit"))
    errors = []
    for name, limit in limits.items():
        present = known.get(name)
        if present is None or limit <= present:
            errors.append(FieldError(f"{place}/{name}", "not_more", _("The limit is that much already.")))
    if errors:
        raise Invalid(errors=errors)


def _refuse_less(tenant: Tenant, limits: Wanted, until: datetime) -> None:
    """A resource has one grant: a new one takes the old one's place, so it is refused where it gives less, or ends sooner."""
    errors = []
    for row in Quota.objects.filter(tenant=tenant, resource__in=limits, grant_until__gt=now()):
        assert row.grant_limit is not None
        assert row.grant_until is not None
        if limits[row.resource] < row.grant_limit or until < row.grant_until:
            said = {"limit": row.grant_limit, "day": row.grant_until.date().isoformat()}
            message = _("%(limit)d are granted until %(day)s: give no less, and for no shorter.") % said
            errors.append(FieldError(f"/limits/{row.resource}", "less_than_granted", message))
    if errors:
        raise Invalid(errors=errors)
