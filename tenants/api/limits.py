"""Limits in JSON."""

from __future__ import annotations

from pydantic import Field, StrictInt

from portal.core.bodies import Body

Limit = StrictInt | None
LIMIT = Field(default=None, ge=0, le=2**53 - 1, description="null is no limit.")


class LimitsIn(Body):
    """Limits by resource; what is left out stays, null is no limit."""

    guests: Limit = LIMIT
    vcpus: Limit = LIMIT
    memory_mib: Limit = LIMIT
    disk_gib: Limit = LIMIT
    volumes: Limit = LIMIT
    snapshots: Limit = LIMIT
    networks: Limit = LIMIT
    addresses: Limit = LIMIT
