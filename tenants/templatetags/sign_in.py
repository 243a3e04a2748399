"""What the sign-in page offers beside a password."""

from __future__ import annotations

from urllib.parse import urlsplit

from allauth.mfa.models import Authenticator
from django import template
from django.conf import settings

from tenants.models import User
from tenants.services.sign_in_providers import providers_of_installation

register = template.Library()


@register.simple_tag
def sign_on_choices() -> list[dict[str, str]]:
    """The providers that everybody may use: ``[{id, name}]``. A tenant's own is not named to strangers."""
    return [{"id": app.provider_id, "name": app.name} for app in providers_of_installation()]


@register.simple_tag
def passkeys_possible() -> bool:
    """Do browsers allow passkeys at our address? They want https and a name, or this very machine."""
    url = urlsplit(settings.PUBLIC_URL)
    return url.hostname == "localhost" or (
        url.scheme == "https" and not (url.hostname or "").replace(".", "").isdigit()
    )


@register.simple_tag
def second_steps(user: User) -> dict[str, bool]:
    """By kind, the factors that somebody half signed in has: what the second step may offer; one query."""
    return dict.fromkeys(Authenticator.objects.filter(user=user).values_list("type", flat=True), True)
