"""REST for operators: where a machine would go."""

from __future__ import annotations

from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.errors import FieldError
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import pick, pick_image, pick_tenant, refuse
from vms.models import Flavor, Image
from vms.placement import Lack
from vms.services.placing import placement_look

router = Router(tags=["operators: hosts"])


class HostVerdictOut(BaseModel):
    """Whether a host takes such a machine: `lack` is empty and `slots` says how many, or it names what it lacks."""

    host: str
    name: str
    pool: str
    lack: Lack
    slots: int


class PlacementOut(BaseModel):
    """Where a machine would go now; `fit` is how many such fit in all, both at most 1,000."""

    chosen: str | None
    fit: int
    hosts: list[HostVerdictOut]


class PlacementQuery(BaseModel):
    """Which machine is asked about."""

    flavor: str = Field(max_length=40, description="Id or name.")
    image: str = Field(default="", max_length=100, description="Id or name; empty: one that runs on any host.")
    tenant: str = Field(default="", max_length=40, description="Id or slug; empty: any that has no hosts of its own.")


@router.get("/placements", response=PlacementOut, summary="Ask where a machine would go")
def placement_get(request: HttpRequest, query: Query[PlacementQuery]) -> PlacementOut:
    """The answer placement would give now, host by host; nothing is held for it."""
    request.actor.require(Permission.OPERATE)
    errors: list[FieldError] = []
    flavor = pick(Flavor.objects.all(), query.flavor, "/flavor", errors)
    tenant = pick_tenant(query.tenant, "/tenant", errors)
    image = pick_image(Image.objects.all(), query.image, "/image", errors) if query.image else None
    refuse(errors)
    assert flavor is not None
    look = placement_look(flavor, tenant, image=image)
    hosts = [
        HostVerdictOut(
            host=str(each.host.pk), name=each.host.name, pool=each.host.pool.name, lack=each.lack, slots=each.slots
        )
        for each in look.hosts
    ]
    return PlacementOut(chosen=None if look.chosen is None else str(look.chosen.pk), fit=look.fit, hosts=hosts)
