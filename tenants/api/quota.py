"""REST: what a tenant may use, and uses."""

from __future__ import annotations

import hashlib
from datetime import datetime

from django.http import HttpResponse
from ninja import Router
from pydantic import BaseModel, Field

from portal.core.clock import now
from portal.core.etags import if_match
from tenants.api.limits import LimitsIn
from tenants.api.tenants import tenant_in_path
from tenants.listings import quota_rows
from tenants.models import Quota, Tenant
from tenants.policy import Permission
from tenants.services.quota import (
    Kind,
    hard_limit,
    kind_of,
    quota_lock,
    quota_rates,
    quota_set,
    quota_verify,
    soft_hard_at,
)
from tenants.types import HttpRequest

router = Router(tags=["quota"])
operators = Router(tags=["operators: tenants"])


class QuotaLine(BaseModel):
    """One resource: what is in use, and how much may be."""

    name: str
    kind: Kind = Field(description="`held`: in use until given back; `each`: of one machine; `rate`: within 24 hours.")
    used: int
    limit: int | None
    allowed: int | None = Field(description="What the limit comes to now, with the grant and the soft limit's grace.")
    soft_limit: int | None
    soft_since: datetime | None = Field(description="Since when more than the soft limit is in use.")
    soft_binds_at: datetime | None = Field(
        description="When the soft limit becomes the limit, if nothing is given back."
    )
    grant_limit: int | None
    grant_until: datetime | None


class QuotaOut(BaseModel):
    """All limits of a project, its children's use included."""

    quota: list[QuotaLine]


class QuotaPatch(LimitsIn):
    """Limits, and under `soft` those that warn first and bind after a grace."""

    soft: LimitsIn = Field(default_factory=LimitsIn)


class MiscountOut(BaseModel):
    """A counter that does not say what is so."""

    tenant: str
    resource: str
    counted: int
    real: int


class RecountOut(BaseModel):
    """Whether all counters of all projects agree with what is there."""

    clean: bool
    findings: list[MiscountOut]


def _quota_etag(tenant: Tenant, rows: list[Quota]) -> str:
    """Changes with the limits, not with what is in use."""
    limits = ";".join(
        f"{row.resource}={row.limit},{row.soft_limit},{row.grant_limit},{row.grant_until}" for row in rows
    )
    return f'"quota-{tenant.pk}-{hashlib.sha256(limits.encode()).hexdigest()[:16]}"'


def _quota(request: HttpRequest, response: HttpResponse) -> QuotaOut:
    tenant, at = tenant_in_path(request), now()
    rows = quota_rows(tenant)
    response["ETag"] = _quota_etag(tenant, rows)
    rates = quota_rates(tenant, at=at)
    return QuotaOut(quota=[_line(row, rates.get(row.resource, row.used), at) for row in rows])


def _line(row: Quota, used: int, at: datetime) -> QuotaLine:
    granted = row.grant_until is not None and row.grant_until > at
    return QuotaLine(
        name=row.resource,
        kind=kind_of(row.resource),
        used=used,
        limit=row.limit,
        allowed=hard_limit(row, at),
        soft_limit=row.soft_limit,
        soft_since=row.soft_since,
        soft_binds_at=soft_hard_at(row),
        grant_limit=row.grant_limit if granted else None,
        grant_until=row.grant_until if granted else None,
    )


@router.get("/quota", response=QuotaOut, summary="Get the quota")
def quota_get(request: HttpRequest, response: HttpResponse) -> QuotaOut:
    """What is in use and how much may be."""
    request.actor.require(Permission.QUOTA_VIEW)
    return _quota(request, response)


@router.patch("/quota", response=QuotaOut, summary="Change the quota (operators)")
def quota_patch(request: HttpRequest, response: HttpResponse, body: QuotaPatch) -> QuotaOut:
    """A limit below what is in use stops new things, never running ones."""
    request.actor.require(Permission.OPERATE)
    tenant = tenant_in_path(request)
    if "If-Match" in request.headers:
        quota_lock(tenant)  # so that what is compared still holds when it is written
    if_match(request, _quota_etag(tenant, quota_rows(tenant)))
    limits = body.model_dump(exclude_unset=True)
    quota_set(tenant, limits, soft=limits.pop("soft", {}), actor=request.actor)
    return _quota(request, response)


@operators.get("/quota/verify", response=RecountOut, summary="Recount every project's use")
def quota_verify_get(request: HttpRequest) -> RecountOut:
    """Each counter beside what the machines, disks and networks make; reads only."""
    request.actor.require(Permission.OPERATE)
    findings = [
        MiscountOut(tenant=found.tenant.slug, resource=found.resource, counted=found.counted, real=found.real)
        for found in quota_verify()
    ]
    return RecountOut(clean=not findings, findings=findings)
