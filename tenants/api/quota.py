"""REST: what a tenant may use, and uses."""

from __future__ import annotations

import hashlib

from django.http import HttpResponse
from ninja import Router
from pydantic import BaseModel

from portal.core.etags import if_match
from tenants.api.limits import LimitsIn
from tenants.api.tenants import tenant_in_path
from tenants.listings import quota_rows
from tenants.models import Quota, Tenant
from tenants.policy import Permission
from tenants.services.quota import quota_set
from tenants.types import HttpRequest

router = Router(tags=["quota"])


class QuotaLine(BaseModel):
    """One resource: what is in use, and how much may be."""

    name: str
    used: int
    limit: int | None


class QuotaOut(BaseModel):
    """All limits of a project, its children's use included."""

    quota: list[QuotaLine]


def _quota_etag(tenant: Tenant, rows: list[Quota]) -> str:
    """Changes with the limits, not with what is in use."""
    limits = ";".join(f"{row.resource}={row.limit}" for row in rows)
    return f'"quota-{tenant.pk}-{hashlib.sha256(limits.encode()).hexdigest()[:16]}"'


def _quota(request: HttpRequest, response: HttpResponse) -> QuotaOut:
    tenant = tenant_in_path(request)
    rows = quota_rows(tenant)
    response["ETag"] = _quota_etag(tenant, rows)
    return QuotaOut(quota=[QuotaLine(name=row.resource, used=row.used, limit=row.limit) for row in rows])


@router.get("/quota", response=QuotaOut, summary="Get the quota")
def quota_get(request: HttpRequest, response: HttpResponse) -> QuotaOut:
    """What is in use and how much may be."""
    request.actor.require(Permission.QUOTA_VIEW)
    return _quota(request, response)


@router.patch("/quota", response=QuotaOut, summary="Change the quota (operators)")
def quota_patch(request: HttpRequest, response: HttpResponse, body: LimitsIn) -> QuotaOut:
    """A limit below what is in use stops new things, never running ones."""
    request.actor.require(Permission.OPERATE)
    tenant = tenant_in_path(request)
    Tenant.objects.select_for_update().get(pk=tenant.pk)
    if_match(request, _quota_etag(tenant, quota_rows(tenant)))
    quota_set(tenant, body.model_dump(exclude_unset=True), actor=request.actor)
    return _quota(request, response)
