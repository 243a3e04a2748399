"""REST: network cards that machines get and give up."""

from __future__ import annotations

from django.http import HttpResponse
from ninja import Router, Status
from pydantic import Field

from operations.api import OperationOut, accepted
from portal.core.bodies import Body
from portal.core.errors import FieldError, Missing
from portal.core.etags import find
from portal.core.ids import uuid_or_none
from tenants.policy import Permission
from tenants.types import HttpRequest
from vms.api.pick import find_held, pick, pick_all, refuse
from vms.models import Network, Port, SecurityGroup
from vms.selectors.guests import guests_visible
from vms.services.ports import port_attach, port_detach
from vms.specs import MOST_ON_A_CARD

router = Router(tags=["guests"])


class PortIn(Body):
    """A card to be plugged in."""

    network: str = Field(max_length=40, description="Id or name.")
    security_groups: list[str] = Field(
        default=[], max_length=MOST_ON_A_CARD, description="By id or name; none: the project's default group."
    )
    ip: str = Field(default="", max_length=15, description="Any free address of its range; else the pool's lowest.")


@router.post(
    "/guests/{guest_id}/ports", response={202: OperationOut}, exclude_unset=True, summary="Attach a network card"
)
def port_post(request: HttpRequest, guest_id: str, response: HttpResponse, body: PortIn) -> Status[OperationOut]:
    """While the machine runs or is off. Only its first card has a default route. The operation's subject is the machine."""
    guest = find(request, guests_visible(request.actor), guest_id)
    request.actor.require(Permission.GUEST_EDIT, guest)
    errors: list[FieldError] = []
    network = pick(Network.objects.all(), body.network, "/network", errors)
    groups = pick_all(SecurityGroup.objects.all(), body.security_groups, "/security_groups", errors)
    refuse(errors)
    assert network is not None
    operation = port_attach(guest, network, actor=request.actor, ip=body.ip, groups=groups)
    return accepted(request, response, operation)


@router.delete(
    "/guests/{guest_id}/ports/{port_id}",
    response={202: OperationOut},
    exclude_unset=True,
    summary="Detach a network card",
)
def port_remove(request: HttpRequest, guest_id: str, port_id: str, response: HttpResponse) -> Status[OperationOut]:
    """A running machine must let go of it. Its address is free once the card is off."""
    guest = uuid_or_none(guest_id)
    if guest is None:
        raise Missing
    seen = guests_visible(request.actor).filter(pk=guest)  # not by ``find``: ``If-Match`` is about the card
    rows = Port.objects.select_related("guest").filter(guest__in=seen.values("pk"))
    return accepted(request, response, port_detach(find_held(request, rows, port_id), actor=request.actor))
