"""REST: why A does or does not reach B."""

from __future__ import annotations

from typing import Any

from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.bodies import refuse_unknown
from tenants.types import HttpRequest
from vms.api.security_groups import RuleOut
from vms.reach import Hop
from vms.selectors.reachability import sentence, way_between

router = Router(tags=["networks"])


class HopOut(BaseModel):
    """One place on the way. `rule` of `group` (an id) is the one that lets it through."""

    code: str
    verdict: str = Field(description="`pass`, `stop` or `unsure`")
    message: str
    group: str | None
    group_name: str | None
    rule: RuleOut | None


class ReachOut(BaseModel):
    """The way of a conversation's first packet, also behind a place that stops it; answers to it pass by themselves."""

    source: str = Field(serialization_alias="from")
    target: str = Field(serialization_alias="to")
    protocol: str
    port: int | None
    reaches: bool | None = Field(
        description="Nothing that can be seen from here stops it; null where that cannot be told."
    )
    hops: list[HopOut]


class ReachQuery(BaseModel):
    """Who calls whom, and how."""

    source: str = Field(
        alias="from",
        max_length=100,
        description="A machine by id, name or address, an address elsewhere, a network by id or name, or `outside`.",
    )
    target: str = Field(
        alias="to", max_length=100, description="A machine by id, name or address, or an address elsewhere."
    )
    protocol: str = Field(default="tcp", max_length=8, description="`tcp`, `udp` or `icmp`")
    port: int | None = Field(default=None, description="For TCP and UDP.")


@router.get("/reachability", response=ReachOut, by_alias=True, summary="Find out why A does or does not reach B")
def reachability_get(request: HttpRequest, query: Query[ReachQuery]) -> dict[str, Any]:
    """By the rules that are in force, the networks as they are drawn, and the machines as they were last seen; sends nothing."""
    refuse_unknown(request, query)
    way = way_between(request.actor, query.source, query.target, query.protocol, query.port)
    return {
        "source": way.source,
        "target": way.target,
        "protocol": way.call.protocol.value,
        "port": way.call.port,
        "reaches": way.reaches,
        "hops": [_hop_out(hop) for hop in way.hops],
    }


def _hop_out(hop: Hop) -> HopOut:
    return HopOut(
        code=hop.code.value,
        verdict=hop.verdict.value,
        message=sentence(hop),
        group=hop.group.pk if hop.group is not None else None,
        group_name=hop.group.name if hop.group is not None else None,
        rule=RuleOut(**hop.rule.as_dict()) if hop.rule is not None else None,
    )
