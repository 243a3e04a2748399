"""The drawing of a project's networks: everybody on it at their place, and readable with two hundred machines."""

from __future__ import annotations

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.vms.views.test_snapshot_pages import text, url
from vms.models import Network, Port
from vms.services.addresses import port_create
from vms.services.guarding import guards_write
from vms.services.networks import network_create
from vms.services.security_groups import group_create
from vms.specs import NetworkWish
from vms.states import Power

pytestmark = pytest.mark.django_db


def plain(page: str) -> str:
    """The page as it is read aloud."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", page))


def test_a_machine_stands_on_each_of_its_networks_with_its_address_state_and_groups(
    house: House, client: Client
) -> None:
    guest = factories.guest(house, name="web-1", power=Power.RUNNING)
    factories.guest(house, name="idle", power=Power.STOPPED)
    with tenant_scope(house.tenant):
        back = network_create(house.tenant, NetworkWish(name="back", outward="isolated"), actor=house.actor)
        group = group_create(house.tenant, name="inner", actor=house.actor)
        port = port_create(guest, back, position=1)
        guards_write(port, [group])
        home = Network.objects.get(is_default=True)
        first, second = (port.addresses.get().ip for port in Port.objects.filter(guest=guest).order_by("position"))

    drawn = plain(text(client, url(house, "network_drawing")))

    out, closed = drawn.split("No way out")
    assert f"{home.name}" in out
    assert f"web-1 Running {first}" in out
    assert "also on back" in out
    assert "2 machines · 1 Running · 1 Stopped" in out
    assert f"web-1 Running {second} Guarded by inner also on {home.name}" in closed
    assert "idle" not in closed


def test_what_is_anothers_or_in_the_bin_is_not_drawn_and_who_is_alone_is(house: House, client: Client) -> None:
    other = factories.tenant_with_owner()
    factories.guest(other, name="theirs")
    factories.guest_binned(house, name="thrown")
    alone = factories.guest(house, name="hermit", power=Power.STOPPED)
    with tenant_scope(house.tenant):
        Port.objects.filter(guest=alone).delete()

    drawn = plain(text(client, url(house, "network_drawing")))

    assert "theirs" not in drawn
    assert "thrown" not in drawn
    assert "hermit Stopped" in drawn.split("On no network")[1]


def test_many_machines_are_folded_until_they_are_asked_for_and_cost_no_more(
    house: House, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vms.selectors.network_map.FOLD", 3)
    here, shared = url(house, "network_drawing"), {"flavor": factories.flavor("small"), "image": factories.image()}
    factories.guest(house, name="m-0", power=Power.STOPPED, **shared)
    text(client, here)
    with CaptureQueriesContext(connection) as few:
        text(client, here)
    for number in range(1, 6):
        factories.guest(house, name=f"m-{number}", power=Power.STOPPED, **shared)

    with CaptureQueriesContext(connection) as many:
        folded = text(client, here)
    with tenant_scope(house.tenant):
        home = Network.objects.get(is_default=True)
    whole = text(client, f"{here}?open={home.pk}&open=nonsense")

    assert len(many) == len(few)
    assert [name in folded for name in ("m-1", "m-2", "m-5")] == [True, False, False]
    assert [name in whole for name in ("m-1", "m-2", "m-5")] == [True, True, True]
    assert f"4 more machines on {home.name}" in folded
    assert f"?open={home.pk}#network-{home.pk}" in folded
