"""REST: what the person behind the token has been told, and where they want to be told it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.utils.translation import gettext as _
from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed
from portal.core.errors import Forbidden
from portal.core.ids import uuid_or_none
from tenants.listings import NOTICE_SORTS, notices, token_of
from tenants.models import Notice, NoticeKind, Tenant, User
from tenants.services.notices import notice_choose, notice_wishes, notices_read
from tenants.types import HttpRequest

router = Router(tags=["me"])


class NoticeOut(BaseModel):
    """One thing I was told; `url` is a path of the portal's pages, or empty."""

    id: str
    kind: NoticeKind
    tenant: str | None
    subject: str
    text: str
    url: str
    created_at: datetime
    read_at: datetime | None


class NoticeQuery(Listing):
    """Filters of notices."""

    sort: str = Field(default="-created_at", max_length=40, description="`created_at`, `-created_at`")
    kind: NoticeKind | None = None
    unread: bool = Field(default=False, description="Only what has not been read.")


class ReadIn(Body):
    """Which notices have been read; all of them where no ids are given."""

    ids: list[str] | None = Field(default=None, max_length=500)


class ReadOut(BaseModel):
    """How many of them had not been read before."""

    read: int


class ChoiceOut(BaseModel):
    """Where I want one kind of notice."""

    kind: NoticeKind
    in_portal: bool
    by_mail: bool


class ChoicesOut(BaseModel):
    """Every kind."""

    items: list[ChoiceOut]
    next: None


class ChoicePatch(Body):
    """What to change; the letter about the security of an account cannot be switched off."""

    in_portal: bool | None = None
    by_mail: bool | None = None


def notice_out(notice: Notice) -> NoticeOut:
    """A notice as JSON shows it."""
    return NoticeOut(
        id=str(notice.pk),
        kind=NoticeKind(notice.kind),
        tenant=notice.tenant.slug if notice.tenant is not None else None,
        subject=notice.subject,
        text=notice.text,
        url=notice.url,
        created_at=notice.created_at,
        read_at=notice.read_at,
    )


def _reader(request: HttpRequest) -> tuple[User, Tenant | None]:
    """Whose token it is, and the project that it is limited to.

    Raises ``Forbidden`` for a token that is nobody's, or may not do all that its owner may there.
    """
    user, token = request.actor.user, token_of(request.actor)
    if token is None or user is None or token.permissions is not None:
        raise Forbidden(
            _("Notices are for a person: this token is limited."),
            code="limited_token",
            hint=_("Use a personal token that is not cut down to some permissions."),
        )
    return user, token.tenant


def _chooser(request: HttpRequest) -> User:
    """Whose token it is; raises ``Forbidden`` where it is of one project, since choices hold for all of them."""
    user, tenant = _reader(request)
    if tenant is not None:
        raise Forbidden(
            _("Where you are told things holds for all your projects: this token is of one."),
            code="limited_token",
            hint=_("Choose on the portal's page of notices."),
        )
    return user


@router.get("/me/notices", response=Listed[NoticeOut], summary="List what I was told")
def notice_list(request: HttpRequest, query: Query[NoticeQuery]) -> dict[str, Any]:
    """Newest first. Needs a personal token that is not limited to permissions; one of a project reads of that project."""
    user, tenant = _reader(request)
    rows = notices(user, unread=query.unread)
    if tenant is not None:
        rows = rows.filter(tenant=tenant)
    if query.kind is not None:
        rows = rows.filter(kind=query.kind)
    if query.q:
        rows = rows.filter(subject__icontains=query.q)
    return listed(request, query, rows, sorts=NOTICE_SORTS, out=notice_out)


@router.post("/me/notices/read", response=ReadOut, summary="Mark notices as read")
def notices_read_post(request: HttpRequest, body: ReadIn | None = None) -> ReadOut:
    """Those of the body, or all; ids that are not mine change nothing."""
    (user, tenant), ids = _reader(request), body.ids if body is not None else None
    pks = None if ids is None else [pk for each in ids if (pk := uuid_or_none(each)) is not None]
    return ReadOut(read=notices_read(user, pks, tenant=tenant))


@router.get("/me/notices/choices", response=ChoicesOut, summary="Where I want to be told what")
def notice_choice_list(request: HttpRequest) -> ChoicesOut:
    """One entry a kind; what I have not chosen stands as it is for everybody."""
    wishes = notice_wishes(_chooser(request))
    items = [ChoiceOut(kind=kind, in_portal=portal, by_mail=mail) for kind, (portal, mail) in wishes.items()]
    return ChoicesOut(items=items, next=None)


@router.patch("/me/notices/choices/{kind}", response=ChoiceOut, summary="Choose where I am told one kind")
def notice_choice_patch(request: HttpRequest, kind: NoticeKind, body: ChoicePatch) -> ChoiceOut:
    """From the next notice on."""
    user = _chooser(request)
    in_portal, by_mail = notice_wishes(user)[kind]
    choice = notice_choose(
        user,
        kind,
        in_portal=in_portal if body.in_portal is None else body.in_portal,
        by_mail=by_mail if body.by_mail is None else body.by_mail,
        actor=request.actor,
    )
    return ChoiceOut(kind=kind, in_portal=choice.in_portal, by_mail=choice.by_mail)
