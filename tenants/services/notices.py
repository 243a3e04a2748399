"""What people are told: in the portal, by mail, or both, as each chose for that kind of thing."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from typing import Final
from uuid import UUID

from django.conf import settings
from django.db import transaction
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import translation
from django.utils.functional import Promise
from django.utils.translation import gettext as _

from portal.core.clock import now
from portal.core.errors import FieldError, Invalid
from tenants.actors import Actor
from tenants.journal.audit import audit_record
from tenants.journal.events import event_append
from tenants.models import Member, Notice, NoticeChoice, NoticeKind, Tenant, User
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.letters import letter_write

DEFAULTS: Final[dict[NoticeKind, tuple[bool, bool]]] = {
    NoticeKind.QUOTA: (True, True),
    NoticeKind.OPERATION_FAILED: (True, False),
    NoticeKind.INVITATION: (True, False),
    NoticeKind.SECURITY: (True, True),
    NoticeKind.TENANT: (True, True),
    NoticeKind.VISIT: (True, True),
}
"""In the portal? By mail? For those who have not chosen."""
ALWAYS_BY_MAIL: Final = frozenset({NoticeKind.SECURITY})
"""Whoever took over a session must not be able to switch off the letter that says so."""
Words = str | Promise


def notice_send(
    tenant: Tenant | None,
    people: Iterable[User] | Permission,
    kind: NoticeKind,
    *,
    subject: Words,
    text: Words = "",
    url: str = "",
) -> int:
    """Tell ``people``, or those of ``tenant`` who hold a permission everywhere in it; how many were told.

    In the caller's transaction: nothing is said of a change that is undone. ``subject`` is one line, ``url`` a path of the
    portal's. Lazy words are said in each person's language. Takes no lock; open pages hear of it after the commit.
    """
    if isinstance(people, Permission):
        people = _holders(tenant, people)
    told = [person for person in people if person.is_active]
    chosen = {choice.user_id: choice for choice in NoticeChoice.objects.filter(user__in=told, kind=kind)}
    notices = []
    for person in told:
        choice = chosen.get(person.pk)
        in_portal, by_mail = (choice.in_portal, choice.by_mail) if choice is not None else DEFAULTS[kind]
        with translation.override(person.language):
            title, words = one_line(subject), str(text)
            if by_mail or kind in ALWAYS_BY_MAIL:
                _write_letter(person, title, words, url)
        if in_portal:
            notices.append(Notice(user=person, tenant=tenant, kind=kind, subject=title, text=words, url=url))
    Notice.objects.bulk_create(notices)
    if tenant is not None and notices:
        transaction.on_commit(partial(_push, tenant, [notice.user_id for notice in notices]), robust=True)
    return len(told)


def security_notice(user: User, *, subject: Words, text: Words = "") -> None:
    """Tell somebody of a change to their own account: a password, a factor, a token, a browser not seen before."""
    notice_send(None, [user], NoticeKind.SECURITY, subject=subject, text=text)


def notices_read(
    user: User,
    pks: Sequence[UUID] | None = None,
    *,
    tenant: Tenant | None = None,
    clock: Callable[[], datetime] = now,
) -> int:
    """Mark these notices of ``user``'s as read, or all; how many were not. Others' are not touched; repeating is safe.

    With ``tenant`` only those that are of it.
    """
    rows = Notice.objects.filter(user=user, read_at=None)
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    if pks is not None:
        rows = rows.filter(pk__in=pks)
    return rows.update(read_at=clock())


@transaction.atomic
def notice_choose(user: User, kind: NoticeKind, *, in_portal: bool, by_mail: bool, actor: Actor) -> NoticeChoice:
    """Where ``user`` wants this kind; raises ``Invalid`` for what must come by mail."""
    if kind in ALWAYS_BY_MAIL and not by_mail:
        raise Invalid(errors=[FieldError("/by_mail", "always_by_mail", _("This always comes by mail, too."))])
    choice, _made = NoticeChoice.objects.update_or_create(
        user=user, kind=kind, defaults={"in_portal": in_portal, "by_mail": by_mail}
    )
    audit_record(actor, "notice.choose", kind=kind.value, in_portal=in_portal, by_mail=by_mail)
    return choice


def notice_wishes(user: User) -> dict[NoticeKind, tuple[bool, bool]]:
    """By kind: does ``user`` want it in the portal, by mail? One query."""
    chosen = {choice.kind: (choice.in_portal, choice.by_mail) for choice in NoticeChoice.objects.filter(user=user)}
    return {kind: chosen.get(kind, DEFAULTS[kind]) for kind in NoticeKind}


def notices_forget(*, at: datetime) -> int:
    """Let go of notices older than ``NOTICE_RETENTION``, read or not."""
    return Notice.objects.filter(created_at__lt=at - settings.NOTICE_RETENTION).delete()[0]


def one_line(words: Words) -> str:
    """Fit for a header: names of tenants and machines are in it, and they may hold anything."""
    return " ".join("".join(c if c.isprintable() else " " for c in str(words)).split())[:200]


def _holders(tenant: Tenant | None, permission: Permission) -> list[User]:
    if tenant is None:
        raise ValueError("a permission is held in a tenant")
    with tenant_scope(tenant):
        members = Member.objects.select_related("user", "role")
        return [member.user for member in members if permission.value in member.role.permissions]


def _write_letter(person: User, title: str, words: str, url: str) -> None:
    context = {
        "person": person,
        "subject": title,
        "text": words,
        "link": settings.PUBLIC_URL + url if url else "",
        "choices": settings.PUBLIC_URL + reverse("tenants:notice_choices"),
    }
    letter_write(to=person.email, subject=title, body=render_to_string("mail/notice.txt", context))


def _push(tenant: Tenant, people: Sequence[UUID]) -> None:
    """After the commit, since the journal is locked last: ``notice:<person>`` for the bell of their open pages."""
    with tenant_scope(tenant), transaction.atomic():
        for pk in people:
            event_append(tenant, "notice.changed", "notice", pk)
