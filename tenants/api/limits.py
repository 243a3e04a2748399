"""Limits in JSON."""

from __future__ import annotations

from typing import Annotated

from pydantic import ConfigDict, Field, StrictInt

from portal.core.bodies import Body

LIMIT_MAX = 2**53 - 1
Amount = Annotated[StrictInt, Field(ge=0, le=LIMIT_MAX)]
Limit = StrictInt | None
LIMIT = Field(default=None, ge=0, le=LIMIT_MAX, description="null is no limit.")


class LimitsIn(Body):
    """Limits by resource; what is left out stays, null is no limit. The disk of a storage class is `disk_gib:NAME`."""

    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, Amount | None] = Field(init=False)

    guests: Limit = LIMIT
    running_guests: Limit = LIMIT
    vcpus: Limit = LIMIT
    memory_mib: Limit = LIMIT
    disk_gib: Limit = LIMIT
    volumes: Limit = LIMIT
    snapshots: Limit = LIMIT
    backups_gib: Limit = LIMIT
    images: Limit = LIMIT
    images_gib: Limit = LIMIT
    networks: Limit = LIMIT
    ports: Limit = LIMIT
    addresses: Limit = LIMIT
    public_addresses: Limit = LIMIT
    security_group_rules: Limit = LIMIT
    guest_vcpus: Limit = LIMIT
    guest_memory_mib: Limit = LIMIT
    guest_disk_gib: Limit = LIMIT
    guest_ports: Limit = LIMIT
    guest_volumes: Limit = LIMIT
    guest_snapshots: Limit = LIMIT
    guest_creates_per_day: Limit = LIMIT
