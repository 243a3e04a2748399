"""Finds out who asks and whose rows they may see, and opens the scope for the whole request."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from django.contrib.auth import middleware as auth_middleware
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode

from portal.core.errors import Missing
from portal.core.htmx import is_partial
from portal.core.middleware import client_address
from tenants.access import AT_THE_DOOR, NOWHERE, actor_for_token, actor_for_user, session_mark, tenant_by_slug
from tenants.actors import Actor
from tenants.policy import Permission
from tenants.scoping import every_tenant, tenant_scope
from tenants.types import HttpRequest

PAGES = re.compile(r"^/t/(?P<tenant>[^/]+)/")
API = re.compile(r"^/api/v1/(?:(?:billing/)?tenants/(?P<tenant>[^/]+)(?:/|$))?")
BILLING = "/api/v1/billing/"
"""Below it a tenant is named by a parameter, as the contract has it; it opens as one in the path does."""
NOBODY = Actor(user=None, tenant=None, permissions=frozenset(), via="anonymous")


class TenantMiddleware:
    """Sets ``request.actor`` and the tenant scope by path: pages by session, ``/api/`` by bearer token and never by cookie.

    A tenant that is not there is looked into like one that is: how long the refusal takes tells nothing of which it was.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        facts = {"address": client_address(request), "request_id": request.request_id}
        request.actor = NOBODY
        if api := API.match(request.path_info):
            return self._api(request, api["tenant"], facts)
        facts["session"] = session_mark(request.session.session_key)
        request.session_mark = facts["session"]  # type: ignore[attr-defined]
        if page := PAGES.match(request.path_info):
            return self._page(request, page["tenant"], facts)
        request.actor = actor_for_user(request.user, None, via="browser", **facts) or _stranger(facts)
        if request.path_info.startswith("/operator/") and (answer := lead_to_set_up(request)):
            return answer
        if request.path_info.startswith("/operator/") and request.actor.is_operator:
            with every_tenant(why="the operators' site"):
                return self.get_response(request)
        return self.get_response(request)

    def _page(self, request: HttpRequest, slug: str, facts: dict[str, str]) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        tenant = tenant_by_slug(slug)
        actor = actor_for_user(request.user, tenant or NOWHERE, via="browser", **facts)
        if tenant is None or actor is None:
            return self.get_response(_without_tenant(request))
        request.actor = actor
        if answer := lead_to_set_up(request):
            return answer
        if actor.permissions == AT_THE_DOOR and request.method == "GET" and not request.path_info.endswith("/visit/"):
            return redirect(f"{reverse('tenants:visit', args=[slug])}?{urlencode({'next': request.get_full_path()})}")
        with tenant_scope(tenant):
            return self.get_response(request)

    def _api(self, request: HttpRequest, slug: str | None, facts: dict[str, str]) -> HttpResponseBase:
        scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not raw:
            return self.get_response(request)
        if slug is None and request.path_info.startswith(BILLING):
            slug = request.GET.get("tenant") or None
        if slug is None:
            request.actor = actor_for_token(raw.strip(), None, **facts) or NOBODY
            if request.actor.is_operator or _reads_money(request):
                with every_tenant(why="operators' REST"):
                    return self.get_response(request)
            return self.get_response(request)
        tenant = tenant_by_slug(slug)
        actor = actor_for_token(raw.strip(), tenant or NOWHERE, **facts)
        if actor is None or tenant is None:
            request.actor = actor_for_token(raw.strip(), None, **facts) or NOBODY
            return self.get_response(_without_tenant(request))
        request.actor = actor
        with tenant_scope(tenant):
            return self.get_response(request)

    def process_view(self, request: HttpRequest, view: Any, args: Any, kwargs: Any) -> None:
        """A page of a tenant that is not there, or not theirs, is the same 404."""
        if getattr(request, "no_such_tenant", False) and not API.match(request.path_info):
            raise Http404


class LoginRequiredMiddleware(auth_middleware.LoginRequiredMiddleware):
    """Every view asks for a sign-in, except those under the paths that authenticate by themselves or are for machines."""

    EXEMPT = re.compile(r"^/(?:api/|healthz$|readyz$|metrics$|static/)")

    def process_view(self, request: Any, view_func: Any, view_args: Any, view_kwargs: Any) -> Any:
        if self.EXEMPT.match(request.path_info):
            return None
        return super().process_view(request, view_func, view_args, view_kwargs)


def _stranger(facts: dict[str, str]) -> Actor:
    """Nobody at a browser: what they do with a letter's link is written down with where they came from."""
    return replace(NOBODY, via="browser", address=facts["address"], request_id=facts["request_id"])


def _reads_money(request: HttpRequest) -> bool:
    """Is it an operator's token that is cut to money, where it reads everybody's? At no tenant others have no permission."""
    return request.path_info.startswith(BILLING) and request.actor.may(Permission.USAGE_VIEW)


def _without_tenant(request: HttpRequest) -> HttpRequest:
    """Mark that the tenant in the path is not there, or not theirs; the view layer answers 404 for both."""
    request.no_such_tenant = True  # type: ignore[attr-defined]
    return request


def lead_to_set_up(request: HttpRequest) -> HttpResponseBase | None:
    """The way to a second factor, for whoever opens a page that asks for one they do not have; what a page sends is refused."""
    if not request.actor.lacks or request.method not in ("GET", "HEAD") or is_partial(request):
        return None
    return redirect(f"{reverse('mfa_index')}?asked=1")


def refuse_unknown_tenant(request: HttpRequest) -> None:
    """Raise ``Missing`` where the path names a tenant the caller has nothing to do with."""
    if getattr(request, "no_such_tenant", False):
        raise Missing
