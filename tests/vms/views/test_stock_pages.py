"""Pages of what machines are made of."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from operations.models import Operation
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from vms.models import Network, SshKey

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


def url(house: House, name: str, *args: Any) -> str:
    return reverse(f"vms:{name}", args=[house.tenant.slug, *args])


def test_a_network_is_made_and_taken_away(house: House, client: Client) -> None:
    made = client.post(url(house, "network_create"), {"name": "back", "outward": "isolated"})
    with tenant_scope(house.tenant):
        network = Network.objects.get()
    shown = client.get(url(house, "network_list")).content.decode()

    gone = client.post(url(house, "network_delete", network.pk))

    assert (made.status_code, network.outward) == (302, "isolated")
    assert "Private, no way out" in shown
    assert gone["Location"] == reverse(
        "operations:operation_detail", args=[house.tenant.slug, Operation.objects.get(kind="network.delete").pk]
    )


@pytest.mark.parametrize("name", ["", "Back", "back"])
def test_what_is_wrong_with_a_network_stands_at_its_name(house: House, client: Client, name: str) -> None:
    factories.network(house, "back")

    answer = client.post(url(house, "network_create"), {"name": name, "outward": "nat"})

    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["name"]


def test_a_network_in_use_has_no_button_and_refuses(house: House, client: Client) -> None:
    network = factories.network(house)
    factories.guest(house, networks=(network,))

    shown = client.get(url(house, "network_list")).content.decode()
    answer = client.post(url(house, "network_delete", network.pk))

    assert url(house, "network_delete", network.pk) not in shown
    assert answer.status_code == 409


def test_lists_show_what_is_there_and_whose_it_is(house: House, client: Client) -> None:
    guest = factories.guest(house, "web")
    factories.guest(factories.tenant_with_owner(), "foreign")

    volumes = client.get(url(house, "volume_list")).content.decode()
    images = client.get(url(house, "image_list")).content.decode()

    assert f"/machines/{guest.pk}/" in volumes
    assert "foreign" not in volumes
    assert guest.image.name in images


def test_a_key_is_kept_by_its_comment_and_forgotten(house: House, client: Client) -> None:
    client.post(url(house, "key_create"), {"key-public_key": factories.public_key("mara@laptop")})
    with tenant_scope(house.tenant):
        key = SshKey.objects.get()

    again = client.post(url(house, "key_create"), {"key-public_key": key.public_key, "key-name": "other"})
    client.post(url(house, "key_delete", key.pk))

    assert key.name == "mara@laptop"
    assert again.status_code == 422
    assert "public_key" in again.context["key_form"].errors
    with tenant_scope(house.tenant):
        assert not SshKey.objects.exists()
