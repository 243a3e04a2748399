"""REST for operators: single sign-on, and whose people come by it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from allauth.socialaccount.models import SocialApp
from django.http import HttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router, Status
from pydantic import BaseModel, Field

from portal.core.bodies import Body, Listed, Listing, listed
from portal.core.errors import FieldError, Invalid, Missing
from portal.core.etags import CHANGES, etag_of, find, if_match
from tenants.listings import PROVIDER_SORTS, SIGN_IN_DOMAIN_SORTS, providers, sign_in_domains
from tenants.models import Role, SignInDomain, Tenant
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tenants.services.roles import role_named
from tenants.services.sign_in import sign_in_domain_create, sign_in_domain_delete, sign_in_domain_edit
from tenants.services.sign_in_providers import (
    callback_of,
    is_open,
    is_private,
    provider_create,
    provider_delete,
    provider_edit,
    provider_switch,
    version_of,
    vouches_for_everybody,
)
from tenants.types import HttpRequest

operators = Router(tags=["operators: single sign-on"])


class ProviderOut(BaseModel):
    """An OpenID Connect provider; its secret is never shown."""

    id: str
    name: str
    issuer: str
    client_id: str
    everybody: bool = Field(description="The installation's own: it vouches for every address.")
    private: bool = Field(description="It lies in a network of ours: only then it may have an address there.")
    on: bool = Field(description="Switched off, it vouches for nobody.")
    callback: str = Field(description="The address that the provider must be told to send people back to.")


class ProviderIn(Body):
    """A provider to be added; `issuer` is where `/.well-known/openid-configuration` lies."""

    id: str = Field(max_length=40)
    name: str = Field(max_length=40)
    issuer: str = Field(max_length=500)
    client_id: str = Field(max_length=191)
    client_secret: str = Field(max_length=1000)
    everybody: bool = False
    private: bool = False


class ProviderPatch(Body):
    """What may change of a provider; its address may not, since another one's people would become ours."""

    name: str | None = Field(default=None, max_length=40)
    client_id: str | None = Field(default=None, max_length=191)
    client_secret: str = Field(default="", max_length=1000, description="Empty: the present one stays.")
    private: bool | None = None
    on: bool | None = Field(default=None, description="False ends the sign-ins that came by it.")


class DomainOut(BaseModel):
    """A mail domain whose people join a project by single sign-on."""

    id: str
    domain: str
    tenant: str
    provider: str
    role: str
    created_at: datetime


class DomainIn(Body):
    """A domain to be let in; the operator vouches that it is the project's own."""

    domain: str = Field(max_length=253)
    tenant: str = Field(max_length=40)
    provider: str = Field(max_length=40)
    role: str = Field(default="member", max_length=40)


class DomainPatch(Body):
    """The role of those who come from now on."""

    role: str = Field(max_length=40)


class ProviderQuery(Listing):
    """Filters of providers."""


class DomainQuery(Listing):
    """Filters of domains."""

    sort: str = Field(default="domain", max_length=40)
    tenant: str = Field(default="", max_length=40)


def provider_out(app: SocialApp) -> ProviderOut:
    """A provider as JSON shows it."""
    return ProviderOut(
        id=app.provider_id,
        name=app.name,
        issuer=app.settings.get("server_url", ""),
        client_id=app.client_id,
        everybody=vouches_for_everybody(app),
        private=is_private(app),
        on=is_open(app),
        callback=callback_of(app),
    )


def domain_out(row: SignInDomain) -> DomainOut:
    """A domain as JSON shows it."""
    return DomainOut(
        id=str(row.pk),
        domain=row.domain,
        tenant=row.tenant.slug,
        provider=row.app.provider_id,
        role=row.role.name,
        created_at=row.created_at,
    )


@operators.get("/sign-in-providers", response=Listed[ProviderOut], summary="List providers")
def provider_list(request: HttpRequest, query: Query[ProviderQuery]) -> dict[str, Any]:
    """All of them: the installation's own, and those of mail domains."""
    request.actor.require(Permission.OPERATE)
    rows = providers()
    if query.q:
        rows = rows.filter(name__icontains=query.q)
    return listed(request, query, rows, sorts=PROVIDER_SORTS, out=provider_out)


@operators.post("/sign-in-providers", response={201: ProviderOut}, summary="Add a provider")
def provider_post(request: HttpRequest, response: HttpResponse, body: ProviderIn) -> Status[ProviderOut]:
    """It vouches for the domains that name it, or, with `everybody`, for whoever has an account here."""
    app = provider_create(
        slug=body.id,
        name=body.name,
        issuer=body.issuer,
        client_id=body.client_id,
        client_secret=body.client_secret,
        everybody=body.everybody,
        private=body.private,
        actor=request.actor,
    )
    response["Location"] = f"/api/v1/sign-in-providers/{app.provider_id}"
    return Status(201, _provider_shown(response, app))


@operators.get("/sign-in-providers/{provider_id}", response=ProviderOut, summary="Get a provider")
def provider_get(request: HttpRequest, provider_id: str, response: HttpResponse) -> ProviderOut:
    """Without its secret."""
    request.actor.require(Permission.OPERATE)
    return _provider_shown(response, _provider(request, provider_id))


@operators.patch("/sign-in-providers/{provider_id}", response=ProviderOut, summary="Change a provider")
def provider_patch(request: HttpRequest, provider_id: str, response: HttpResponse, body: ProviderPatch) -> ProviderOut:
    """Its name, client, secret, whether it lies in a network of ours, and whether it is on."""
    request.actor.require(Permission.OPERATE)
    app = _provider(request, provider_id)
    app = provider_edit(
        app,
        name=app.name if body.name is None else body.name,
        client_id=app.client_id if body.client_id is None else body.client_id,
        client_secret=body.client_secret,
        private=is_private(app) if body.private is None else body.private,
        actor=request.actor,
    )
    if body.on is not None:
        app = provider_switch(app, on=body.on, actor=request.actor)
    return _provider_shown(response, app)


@operators.delete("/sign-in-providers/{provider_id}", response={204: None}, summary="Remove a provider")
def provider_delete_one(request: HttpRequest, provider_id: str) -> Status[None]:
    """Only where no domain names it any more; whoever came by it keeps the account."""
    request.actor.require(Permission.OPERATE)
    provider_delete(_provider(request, provider_id), actor=request.actor)
    return Status(204, None)


@operators.get("/sign-in-domains", response=Listed[DomainOut], summary="List mail domains")
def domain_list(request: HttpRequest, query: Query[DomainQuery]) -> dict[str, Any]:
    """Whose people join which project."""
    request.actor.require(Permission.OPERATE)
    rows = sign_in_domains()
    if query.q:
        rows = rows.filter(domain__icontains=query.q)
    if query.tenant:
        rows = rows.filter(tenant__slug=query.tenant)
    return listed(request, query, rows, sorts=SIGN_IN_DOMAIN_SORTS, out=domain_out)


@operators.post("/sign-in-domains", response={201: DomainOut}, summary="Let a mail domain in")
def domain_post(request: HttpRequest, response: HttpResponse, body: DomainIn) -> Status[DomainOut]:
    """Whoever the provider says has a verified address in it joins the project with the role."""
    request.actor.require(Permission.OPERATE)
    tenant = Tenant.objects.filter(slug=body.tenant).first()
    app = providers().filter(provider_id=body.provider).first()
    if tenant is None:
        raise Invalid(errors=[FieldError("/tenant", "unknown", _("There is no such project."))])
    if app is None:
        raise Invalid(errors=[FieldError("/provider", "unknown", _("There is no such provider."))])
    role = _role(tenant, body.role)
    row = sign_in_domain_create(body.domain, tenant=tenant, app=app, role=role, actor=request.actor)
    response["Location"] = f"/api/v1/sign-in-domains/{row.pk}"
    return Status(201, _shown(response, row))


@operators.get("/sign-in-domains/{domain_id}", response=DomainOut, summary="Get a mail domain")
def domain_get(request: HttpRequest, domain_id: str, response: HttpResponse) -> DomainOut:
    """Where its people go."""
    request.actor.require(Permission.OPERATE)
    return _shown(response, find(request, sign_in_domains(), domain_id))


@operators.patch("/sign-in-domains/{domain_id}", response=DomainOut, summary="Change a mail domain's role")
def domain_patch(request: HttpRequest, domain_id: str, response: HttpResponse, body: DomainPatch) -> DomainOut:
    """For those who come from now on; members keep theirs."""
    request.actor.require(Permission.OPERATE)
    row = find(request, sign_in_domains(), domain_id)
    return _shown(response, sign_in_domain_edit(row, role=_role(row.tenant, body.role), actor=request.actor))


@operators.delete("/sign-in-domains/{domain_id}", response={204: None}, summary="Let a mail domain in no more")
def domain_delete(request: HttpRequest, domain_id: str) -> Status[None]:
    """Members stay members."""
    request.actor.require(Permission.OPERATE)
    sign_in_domain_delete(find(request, sign_in_domains(), domain_id), actor=request.actor)
    return Status(204, None)


def _shown(response: HttpResponse, row: SignInDomain) -> DomainOut:
    response["ETag"] = etag_of(row)
    return domain_out(row)


def _role(tenant: Tenant, name: str) -> Role:
    with tenant_scope(tenant):
        return role_named(name)


def _provider(request: HttpRequest, slug: str) -> SocialApp:
    rows = providers().select_for_update() if request.method in CHANGES else providers()
    app = rows.filter(provider_id=slug).first()
    if app is None:
        raise Missing
    if request.method in CHANGES:
        if_match(request, _provider_tag(app))
    return app


def _provider_shown(response: HttpResponse, app: SocialApp) -> ProviderOut:
    response["ETag"] = _provider_tag(app)
    return provider_out(app)


def _provider_tag(app: SocialApp) -> str:
    """Its row has no column for a version."""
    return f'"sign-in-provider-{app.pk}-{version_of(app)}"'
