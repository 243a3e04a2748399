"""Tokens that open a project."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from portal.core.forms import refusals_in
from tenants.actors import Actor
from tenants.forms.tokens import TokenForm
from tenants.models import ApiToken, User
from tenants.pages import page, tenant_of
from tenants.policy import Permission
from tenants.selectors import tokens_visible
from tenants.services.tokens import token_create as make_token
from tenants.services.tokens import token_revoke as end_token
from tenants.shapes import scope_labels
from tenants.types import HttpRequest


@require_safe
@page(Permission.TOKEN_VIEW)
def token_list(request: HttpRequest, tenant: str) -> HttpResponse:
    """API tokens that open this project."""
    return _tokens(request, None)


@never_cache
@require_POST
@page(Permission.TOKEN_MANAGE)
def token_create(request: HttpRequest, tenant: str) -> HttpResponse:
    """Make a token; this answer alone shows it."""
    user = request.user
    assert isinstance(user, User)
    form = TokenForm(request.POST, actor=request.actor)
    if form.is_valid():
        with refusals_in(form):
            spec = form.spec()
            token, secret = make_token(
                user, name=spec.name, actor=request.actor, tenant=tenant_of(request), permissions=spec.permissions,
                expires_at=spec.expires_at,
            )  # fmt: skip
            return _tokens(request, None, new_token={"name": token.name, "secret": secret})
    return _tokens(request, form)


@require_POST
@page(Permission.TOKEN_VIEW)
def token_revoke(request: HttpRequest, tenant: str, token_id: UUID) -> HttpResponse:
    """End a token at once."""
    token = get_object_or_404(tokens_visible(request.actor), pk=token_id)
    end_token(token, actor=request.actor)
    messages.success(request, _("The token %s is dead.") % token.name)
    return redirect("tenants:token_list", tenant)


def _tokens(request: HttpRequest, form: TokenForm | None, **context: Any) -> HttpResponse:
    actor = request.actor
    may_create = actor.may(Permission.TOKEN_MANAGE)
    context |= {
        "tokens": [_token(token, actor) for token in tokens_visible(actor)],
        "may_create": may_create,
        "form": form or TokenForm(actor=actor),
    }
    return render(request, "tenants/token_list.html", context, status=422 if form else 200)


def _token(token: ApiToken, actor: Actor) -> dict[str, Any]:
    own = actor.user is not None and token.user_id == actor.user.pk
    return {
        "pk": token.pk,
        "name": token.name,
        "prefix": token.prefix,
        "scopes": scope_labels(token.permissions) + ([] if token.tenant_id else [_("every project of theirs")]),
        "created_by": token.user.label if token.user is not None else "",
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "last_used_at": token.last_used_at,
        "may_revoke": own or actor.may(Permission.TOKEN_MANAGE),
    }
