"""Images, flavors, networks, volumes, keys, ports and hosts by REST."""

from __future__ import annotations

import pytest

from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Host

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up("one")
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


@pytest.fixture
def desk() -> Rest:
    return Rest(factories.operator()[1])


def test_a_network_is_made_and_deleted(house: House, rest: Rest) -> None:
    made = rest.post(f"{house.url}/networks", {"name": "lan", "outward": "isolated"})

    assert made.status == 201, made
    assert made.json["subnets"][0]["cidr"].startswith("10.")
    assert rest.post(f"{house.url}/networks", {"name": "lan"}).json["code"] == "name_taken"
    assert rest.post(f"{house.url}/networks", {"name": "x", "outward": "up"}).status == 422
    gone = rest.delete(made.headers["Location"], If_Match=made.headers["ETag"])
    assert (gone.status, gone.json["kind"]) == (202, "network.delete")


def test_a_network_in_use_stays(house: House, rest: Rest) -> None:
    guest = factories.guest(house)
    network = rest.get(f"{house.url}/networks?name=private").json["items"][0]

    assert network["default"] is True
    assert rest.delete(f"{house.url}/networks/{network['id']}").json["code"] == "network_in_use"
    ports = rest.get(f"{house.url}/ports?guest={guest.pk}").json["items"]
    assert ports[0]["addresses"][0]["ip"] == rest.get(f"{house.url}/guests/{guest.pk}").json["addresses"][0]["ip"]
    assert rest.get(f"{house.url}/ports/{ports[0]['id']}").json == ports[0]
    assert rest.get(f"{house.url}/ports?network={network['id']}&mac={ports[0]['mac'].upper()}").json["items"] == ports


def test_volumes_are_read(house: House, rest: Rest) -> None:
    guest = factories.guest(house)

    volume = rest.get(f"{house.url}/volumes?guest={guest.pk}").json["items"][0]

    assert (volume["size_gib"], volume["guest_name"], volume["storage_class"]) == (1, guest.name, "standard")
    assert rest.get(f"{house.url}/volumes/{volume['id']}").json == volume


def test_keys_are_kept_and_machines_made_with_them(house: House, rest: Rest) -> None:
    made = rest.post(f"{house.url}/ssh-keys", {"name": "laptop", "public_key": factories.public_key("me@here")})
    factories.flavor("small"), factories.image("tiny")

    inline = factories.public_key()
    asked = {"name": "web", "flavor": "small", "image": "tiny", "ssh_keys": ["laptop", inline]}
    guest = rest.post(f"{house.url}/guests", asked).json["subject"]["id"]

    assert made.status == 201, made
    assert made.json["fingerprint"].startswith("SHA256:")
    shown = rest.get(f"{house.url}/guests/{guest}").json
    assert shown["ssh_keys"][0] == made.json["fingerprint"]
    assert len(shown["ssh_keys"]) == 2
    assert rest.post(f"{house.url}/ssh-keys", {"name": "x", "public_key": "no key"}).status == 422
    assert rest.delete(made.headers["Location"]).status == 204
    assert rest.get(made.headers["Location"]).status == 404


def test_images_are_imported_by_operators_and_seen_when_ready(house: House, rest: Rest, desk: Rest) -> None:
    body = {"name": "debian", "url": "https://images.example.test/d.qcow2", "sha256": "a" * 64}
    asked = desk.post("/images", body)
    ready = factories.image("tiny")

    assert asked.status == 202, asked
    assert asked.headers["Location"] == f"/api/v1/operations/{asked.json['id']}"
    assert desk.get(asked.headers["Location"]).status == 200
    assert [image["name"] for image in rest.get(f"{house.url}/images").json["items"]] == ["tiny"]
    assert {image["name"] for image in desk.get("/images").json["items"]} == {"tiny", "debian"}
    assert rest.get(f"{house.url}/images/{asked.json['subject']['id']}").status == 404
    assert desk.patch(f"/images/{ready.pk}", {"deprecated": True}).json["state"] == "deprecated"
    assert desk.post("/images", {**body, "url": "file:///etc/shadow", "sha256": "x"}).status == 422
    assert desk.delete(f"/images/{ready.pk}").status == 202
    assert rest.post("/images", body).status == 403


def test_an_image_that_machines_stand_on_stays(house: House, desk: Rest) -> None:
    guest = factories.guest(house)

    assert desk.delete(f"/images/{guest.image_id}").json["code"] == "image_in_use"


def test_flavors_are_read_by_all_and_written_by_operators(rest: Rest, desk: Rest) -> None:
    made = desk.post("/flavors", {"name": "huge", "vcpus": 32, "memory_mib": 65536, "disk_gib": 100})

    assert made.status == 201, made
    path = f"/flavors/{made.json['id']}"
    assert [flavor["name"] for flavor in rest.get("/flavors?name=huge").json["items"]] == ["huge"]
    changed = desk.patch(path, {"enabled": False}, If_Match=made.headers["ETag"])
    assert changed.json["enabled"] is False
    assert rest.get("/flavors?name=huge").json["items"] == []
    assert desk.patch(path, {"vcpus": 1}, If_Match=made.headers["ETag"]).status == 412
    assert desk.post("/flavors", {"name": "huge", "vcpus": 1, "memory_mib": 64, "disk_gib": 1}).status == 422
    assert rest.patch(path, {"vcpus": 1}).status == 403


def test_hosts_are_enrolled_tested_and_put_into_maintenance(desk: Rest) -> None:
    factories.installation()
    asked = desk.post("/hosts", {"uri": "qemu+tls://node-2.example.test/system", "addresses": ["192.0.2.7"]})

    assert asked.status == 202, asked
    path = f"/hosts/{asked.json['subject']['id']}"
    host = desk.get(path)
    assert (host.json["name"], host.json["state"], host.json["addresses"]) == (
        "node-2-example-test",
        "down",
        ["192.0.2.7"],
    )
    assert desk.patch(path, {"maintenance": True}, If_Match=host.headers["ETag"]).json["maintenance"] is True
    assert desk.get("/hosts?maintenance=true").json["items"][0]["id"] == host.json["id"]
    assert desk.post(f"{path}/test").json["kind"] == "host.probe"
    assert desk.post("/hosts", {"uri": "http://x"}).json["errors"][0]["pointer"] == "/uri"
    assert desk.get("/host-pools").json["items"][0]["name"] == "default"
    pool = desk.get(f"/storage-pools?host={host.json['id']}").json["items"][0]
    assert desk.get(f"/storage-pools/{pool['id']}").json == pool


def test_tenants_never_see_hosts(house: House, rest: Rest) -> None:
    factories.guest(house, "web")

    everything = [
        rest.get(f"{house.url}/{noun}").raw.content.decode() for noun in ("guests", "operations", "volumes", "ports")
    ]

    assert not [text for text in everything if str(Host.objects.get().pk) in text or Host.objects.get().uri in text]
