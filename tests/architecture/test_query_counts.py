"""What a page costs the database, and that it costs the same however much it lists.

The figures stand in ``query_counts.json``, so that a new query on a page shows in the review that brings it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from tenants.scoping import tenant_scope
from tests import factories
from tests.architecture.test_pages import browser
from tests.factories import House
from vms.models import DiskExport, Volume
from vms.services.guests import guest_power
from vms.services.keys import key_create
from vms.services.security_groups import group_create
from vms.states import Power, VolumeState

pytestmark = pytest.mark.django_db
FILE = Path(__file__).with_name("query_counts.json")
FEW, MANY = 5, 50
LISTS = [
    "vms:overview",
    "vms:guest_list",
    "vms:guest_create",
    "vms:volume_list",
    "vms:snapshot_list",
    "vms:backup_list",
    "vms:disk_export_list",
    "vms:image_list",
    "vms:network_list",
    "vms:network_drawing",
    "vms:group_list",
    "vms:placement_group_list",
    "vms:key_list",
    "operations:operation_list",
    "tenants:audit_list",
    "tenants:member_list",
    "tenants:token_list",
    "tenants:quota",
    "tenants:settings",
    "billing:bill",
]
ONE = [
    "vms:guest_detail",
    "vms:guest_row",
    "vms:guest_menu",
    "vms:guest_header",
    "vms:console",
    "operations:operation_detail",
]

PARTIAL = {"vms:guest_menu": {"HX-Request": "true", "HX-Request-Type": "partial"}}
"""What alone is a part of a page, and asked for as one."""


def fill(house: House, amount: int) -> None:
    """So many machines with a tag, a disk, a snapshot, a backup and an operation each, half busy; as many keys and members."""
    shared: dict[str, Any] = {"flavor": factories.flavor("small"), "image": factories.image()}
    for number in range(amount):
        guest = factories.guest(house, tags=["prod"], power=Power.STOPPED, **shared)
        with tenant_scope(house.tenant):
            Volume.objects.filter(guest=guest).update(state=VolumeState.READY)
        factories.snapshot(house, of=guest)
        factories.backup(house, guest)
        with tenant_scope(house.tenant):
            DiskExport.objects.create(tenant=house.tenant, name="root", guest=guest, size_gib=1, made_by="somebody")
            if number % 2:
                guest_power(guest, "start", actor=house.actor)
            group_create(house.tenant, name=f"group-{number}", actor=house.actor)
            key_create(house.tenant, name=f"key-{number}", public_key=factories.public_key(), actor=house.actor)
        factories.join(house.tenant, factories.user(), role="viewer")


def cost(client: Client, url: str, **headers: str) -> int:
    """How many queries one request takes, once whatever is kept between requests is warm."""
    client.get(url, headers=headers)
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(url, headers=headers)
    assert answer.status_code == 200, url
    return len(queries)


def costs(house: House) -> dict[str, int]:
    client = browser(house.owner)
    found = {name: cost(client, reverse(name, args=[house.tenant.slug])) for name in LISTS}
    with tenant_scope(house.tenant):
        guest, operation = factories.guest_building(house)
    for name in ONE:
        pk = operation.pk if name.startswith("operations") else guest.pk
        found[name] = cost(client, reverse(name, args=[house.tenant.slug, pk]), **PARTIAL.get(name, {}))
    return found


def test_a_page_costs_what_is_written_down_and_no_more_for_more() -> None:
    held = ["guests", "running_guests", "vcpus", "memory_mib", "disk_gib", "volumes", "addresses", "ports"]
    unlimited = dict.fromkeys([*held, "guest_creates_per_day"])
    few, many = (factories.tenant_with_owner(limits=unlimited) for _ in range(2))
    factories.host_up(cpus=512)
    fill(few, FEW)
    fill(many, MANY)

    small, large = costs(few), costs(many)

    assert large == small
    assert small == json.loads(FILE.read_text())
