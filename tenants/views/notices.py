"""What a person has been told, and where they want to be told it."""

from __future__ import annotations

from typing import Any, Final
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.paging import keyset_page
from tenants.forms.notices import ChoicesForm
from tenants.listings import NOTICE_SORTS, notices, notices_unread
from tenants.models import Notice, NoticeKind, User
from tenants.services.notices import notice_choose, notice_wishes, notices_read
from tenants.types import HttpRequest

ICONS: Final = {
    NoticeKind.QUOTA: ("gauge", "amber"),
    NoticeKind.OPERATION_FAILED: ("alert-triangle", "red"),
    NoticeKind.INVITATION: ("user-plus", ""),
    NoticeKind.SECURITY: ("lock", "amber"),
    NoticeKind.TENANT: ("users", ""),
    NoticeKind.VISIT: ("shield", "amber"),
}
"""Icon and colour of each kind."""


@require_safe
def notice_list(request: HttpRequest) -> HttpResponse:
    """Newest first; ``?unread=1`` only what has not been read."""
    user = _person(request)
    only_unread = request.GET.get("unread") == "1"
    found = keyset_page(
        notices(user, unread=only_unread), sorts=NOTICE_SORTS, sort="-created_at", cursor=request.GET.get("cursor", "")
    )
    following = request.GET.copy()
    following["cursor"] = found.next or ""
    context = {
        "notices": [_notice(notice) for notice in found.items],
        "only_unread": only_unread,
        "unread": notices_unread(user),
        "page": {"shown_label": "", "next_url": f"?{following.urlencode()}" if found.next else None},
    }
    return render(request, "tenants/notice_list.html", context)


@require_safe
def notice_bell(request: HttpRequest) -> HttpResponse:
    """The bell of the top bar by itself, for pages that are open."""
    user = _person(request)
    return render(request, "tenants/_bell.html", {"unread": notices_unread(user), "person": user.pk})


@require_POST
def notice_open(request: HttpRequest, notice_id: UUID) -> HttpResponse:
    """Mark it as read and go to what it tells of."""
    user = _person(request)
    notice = get_object_or_404(Notice, pk=notice_id, user=user)
    notices_read(user, [notice.pk])
    return redirect(notice.url or "tenants:notice_list")


@require_POST
def notice_read_all(request: HttpRequest) -> HttpResponse:
    """Mark all as read."""
    notices_read(_person(request))
    return redirect("tenants:notice_list")


@require_http_methods(["GET", "HEAD", "POST"])
def notice_choices(request: HttpRequest) -> HttpResponse:
    """Where each kind goes."""
    user = _person(request)
    wishes = notice_wishes(user)
    form = ChoicesForm(request.POST if request.method == "POST" else None, wishes=wishes)
    if form.is_valid():
        for kind, wish in form.spec().items():
            if wish != wishes[kind]:
                notice_choose(user, kind, in_portal=wish[0], by_mail=wish[1], actor=request.actor)
        messages.success(request, _("Saved."))
        return redirect("tenants:notice_choices")
    return render(request, "tenants/notice_choices.html", {"form": form}, status=422 if form.errors else 200)


def _person(request: HttpRequest) -> User:
    user = request.user
    assert isinstance(user, User)
    return user


def _notice(notice: Notice) -> dict[str, Any]:
    kind = NoticeKind(notice.kind)
    icon, colour = ICONS[kind]
    return {
        "pk": notice.pk,
        "icon": icon,
        "colour": colour,
        "kind_label": kind.label,
        "subject": notice.subject,
        "text": notice.text,
        "url": notice.url,
        "at": notice.created_at,
        "read": notice.read_at is not None,
        "tenant": notice.tenant.name if notice.tenant is not None else "",
    }
