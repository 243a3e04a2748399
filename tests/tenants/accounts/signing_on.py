"""Single sign-on, as tests go through it."""

from __future__ import annotations

import re
from html import unescape
from typing import Any

from allauth.socialaccount.models import SocialApp
from django.test import Client

from tenants.models import SignInDomain
from tenants.scoping import tenant_scope
from tenants.services.roles import role_named
from tenants.services.sign_in import sign_in_domain_create
from tenants.services.sign_in_providers import provider_create
from tests import factories
from tests.support.openid import CLIENT, SECRET, Provider

PEOPLE = {
    "ada": {"email": "ada@acme.test", "email_verified": True, "name": "Ada Lovelace"},
    "capital": {"email": "ADA@Acme.Test", "email_verified": True},
    "unverified": {"email": "eve@acme.test", "email_verified": False},
    "texted": {"email": "eve@acme.test", "email_verified": "false"},
    "unsaid": {"email": "eve@acme.test"},
    "nameless": {"name": "No Address"},
    "stranger": {"email": "eve@other.test", "email_verified": True},
    "below": {"email": "eve@sub.acme.test", "email_verified": True},
    "beside": {"email": "eve@evilacme.test", "email_verified": True},
    "double": {"email": "eve@other.test@acme.test", "email_verified": True},
    "lookalike": {"email": "ada@acme.te\u017ft", "email_verified": True},
    "operator": {"email": "root@acme.test", "email_verified": True},
    "two-faced": {"email": "ada@acme.test", "email_verified": True, "userinfo": {"sub": "somebody else"}},
    "alike": {"email": "root@elsewhere.test", "email_verified": True},
}


def app_at(idp: Provider, *, everybody: bool = False) -> SocialApp:
    """The provider, as an operator adds it."""
    return provider_create(
        slug="acme",
        name="Acme",
        issuer=idp.issuer,
        client_id=CLIENT,
        client_secret=SECRET,
        everybody=everybody,
        private=True,
        actor=factories.desk(),
    )


def domain_at(
    app: SocialApp, house: factories.House, *, role: str = "viewer", domain: str = "acme.test"
) -> SignInDomain:
    with tenant_scope(house.tenant):
        return sign_in_domain_create(
            domain, tenant=house.tenant, app=app, role=role_named(role), actor=factories.desk()
        )


def leaves(client: Client, **more: str) -> str:
    """Begin at the portal; where it leads."""
    answer = client.post("/account/sign-on/acme/", more)
    assert answer.status_code == 200, answer.content[:500]
    address = re.search(r'content="0; url=([^"]+)"', answer.content.decode())
    assert address is not None
    return unescape(address.group(1))


def comes(client: Client, idp: Provider, person: str, **more: str) -> Any:
    """All the way round; the portal's answer at the end."""
    back = idp.passes(leaves(client, **more), person)
    return client.get(back.removeprefix("http://testserver"))
