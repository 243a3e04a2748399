"""Ways to sign in beside the accounts library's own pages."""

from __future__ import annotations

import secrets
from typing import cast

from allauth.account.adapter import get_adapter
from allauth.core.internal import ratelimit
from allauth.mfa.webauthn.views import login_webauthn
from allauth.socialaccount.adapter import get_adapter as get_sign_on
from allauth.socialaccount.models import SocialApp
from allauth.socialaccount.providers.base.constants import AuthProcess
from django.contrib.auth.decorators import login_not_required
from django.http import Http404, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST
from requests import RequestException

from portal.core.errors import Unreachable
from tenants.accounts.single_sign_on import NONCE
from tenants.forms.account import SignOnForm
from tenants.listings import providers
from tenants.services.sign_in import provider_for
from tenants.services.sign_in_providers import is_open
from tenants.types import HttpRequest

HANDSHAKE_S = 600
"""How long an anonymous session lives that was only begun to sign in."""

# Who asks for a challenge gets a session: so many a minute, since nobody has shown who they are yet (CVE-2014-8124).
passkey_sign_in = ratelimit.decorator(app="allauth.mfa", action="webauthn_login", limit_get=True)(
    login_not_required(login_webauthn)
)


@login_not_required
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@ratelimit.decorator(app="allauth.account", action="single_sign_on")
def sign_on(request: HttpRequest) -> HttpResponseBase:
    """Asks for an address, and leads to where its domain signs in."""
    form = SignOnForm(request.POST or None, initial={"next": request.GET.get("next", "")})
    if request.method == "POST" and form.is_valid():
        app = provider_for(form.cleaned_data["email"])
        if app is not None:
            return _leave(request, app, hint=form.cleaned_data["email"])
        form.add_error("email", _("No organisation signs in with this address here. Use your password."))
    return render(request, "account/sign_on.html", {"form": form}, status=422 if form.errors else 200)


@login_not_required
@never_cache
@require_POST
@ratelimit.decorator(app="allauth.account", action="single_sign_on")
def sign_on_begin(request: HttpRequest, provider_id: str) -> HttpResponseBase:
    """Leads to one provider."""
    app = providers().filter(provider_id=provider_id).first()
    if app is None or not is_open(app):
        raise Http404
    return _leave(request, app)


@login_not_required
def sign_on_again(request: HttpRequest, provider_id: str) -> HttpResponse:
    """The library's own way to a provider, which may be bookmarked: the page that asks is ours."""
    return redirect("account_login")


def _leave(request: HttpRequest, app: SocialApp, *, hint: str = "") -> HttpResponseBase:
    """Begin the handshake and show the way. Not a redirect: the browser holds a form to ``form-action`` all the way."""
    wanted = request.POST.get("next", "")
    provider = get_sign_on().get_provider(request, app.provider_id)
    nonce = secrets.token_urlsafe(16)
    asked = {**provider.get_auth_params(), NONCE: nonce, **({"login_hint": hint} if hint else {})}
    try:
        answer = provider.redirect(
            request,
            AuthProcess.LOGIN,
            next_url=wanted if get_adapter().is_safe_url(wanted) else None,
            data={NONCE: nonce},
            auth_params=asked,
        )
    except (RequestException, KeyError) as error:  # no answer, or one that names no place to sign in
        raise Unreachable(_("%s does not answer right now.") % app.name) from error
    if not isinstance(answer, HttpResponseRedirect):
        return cast(HttpResponseBase, answer)
    if not request.user.is_authenticated:
        request.session.set_expiry(HANDSHAKE_S)
    return render(request, "account/sign_on_leave.html", {"name": app.name, "address": answer.url})
