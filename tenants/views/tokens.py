"""Tokens that open a project."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.forms.tokens import TokenForm
from tenants.models import ApiToken, User
from tenants.pages import confirm, page, tenant_of
from tenants.policy import Permission
from tenants.selectors import tokens_visible
from tenants.services.roles import role_named
from tenants.services.tokens import token_create as make_token
from tenants.services.tokens import token_revoke as end_token
from tenants.services.tokens import token_rotate as renew_token
from tenants.shapes import role_label, scope_labels
from tenants.types import HttpRequest

OVERLAP = timedelta(hours=24)
"""How long the old text of a token that is renewed on the page still works; REST says it by itself."""


@require_safe
@page(Permission.TOKEN_VIEW)
def token_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """API tokens that open this project."""
    return _tokens(request, None)


@never_cache
@require_POST
@page(Permission.TOKEN_OWN)
def token_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a token; this answer alone shows it."""
    user = request.user
    assert isinstance(user, User)
    form = TokenForm(request.POST, actor=request.actor)
    if form.is_valid():
        role = role_named(form.role_name) if form.role_name else None
        with refusals_in(form):
            token, secret = make_token(
                None if role else user,
                name=form.cleaned_data["name"],
                actor=request.actor,
                tenant=tenant_of(request),
                scope=form.spec(),
                role=role,
            )
            return _tokens(request, None, new_token={"name": token.name, "secret": secret})
    return _tokens(request, form)


@never_cache
@require_POST
@page(Permission.TOKEN_OWN)
def token_rotate(request: HttpRequest, tenant: str, token_id: UUID) -> HttpResponse:
    """Give a token a new text, shown by this answer alone."""
    token = get_object_or_404(tokens_visible(request.actor), pk=token_id)
    token, secret = renew_token(token, overlap=OVERLAP, actor=request.actor)
    return _tokens(request, None, new_token={"name": token.name, "secret": secret, "old_until": token.old_until})


@require_http_methods(["GET", "HEAD", "POST"])
@page(Permission.TOKEN_VIEW)
def token_revoke(request: HttpRequest, tenant: str, token_id: UUID) -> HttpResponse:
    """Say what falls; then end a token at once."""
    token = get_object_or_404(tokens_visible(request.actor), pk=token_id)
    if request.POST.get("confirmed") != "yes":
        back = {"url": reverse("tenants:token_list", args=[tenant]), "label": _("API tokens")}
        return confirm(request, _end_of(token), back=back)
    end_token(token, actor=request.actor)
    messages.success(request, _("The token %s is dead.") % token.name)
    return redirect("tenants:token_list", tenant)


def _end_of(token: ApiToken) -> dict[str, str]:
    """What is asked before a token dies."""
    facts = {"name": token.name, "prefix": token.prefix}
    text = _("Whatever uses it (%(prefix)s…) is refused from then on, and consoles opened with it close.") % facts
    return {
        "title": _("Revoke %(name)s?") % facts,
        "text": f"{text} {_('This cannot be undone.')}",
        "button": _("Revoke"),
        "icon": "trash",
    }


def _tokens(request: HttpRequest, form: TokenForm | None, **context: Any) -> HttpResponse:
    actor = request.actor
    may_create = actor.may(Permission.TOKEN_OWN)
    context |= {
        "tokens": [_token(token, actor) for token in tokens_visible(actor)],
        "may_create": may_create,
        "form": form or TokenForm(actor=actor),
    }
    return render(request, "tenants/token_list.html", context, status=422 if form else 200)


def _token(token: ApiToken, actor: Actor) -> dict[str, Any]:
    own = actor.user is not None and token.user_id == actor.user.pk
    manages = actor.may(Permission.TOKEN_MANAGE)
    return {
        "pk": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "old_until": token.old_until,
        "scopes": scope_labels(token.permissions) + ([] if token.tenant_id else [_("every project of theirs")]),
        "tags": token.tags,
        "networks": token.networks,
        "owner": _owner(token),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "last_used_address": token.last_used_address,
        "may_rotate": _may_rotate(token, actor, own=own),
        "may_revoke": own or manages,
    }


def _may_rotate(token: ApiToken, actor: Actor, *, own: bool) -> bool:
    """One's own here, and the project's: whoever renews a token gets to read it."""
    if token.user_id is None:
        return actor.may(Permission.TOKEN_MANAGE)
    return own and token.tenant_id is not None and actor.may(Permission.TOKEN_OWN)


def _owner(token: ApiToken) -> str:
    if token.user is not None:
        return token.user.label
    assert token.role is not None
    return _("the project, as %s") % role_label(token.role.name)
