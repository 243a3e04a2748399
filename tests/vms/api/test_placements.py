"""Operators over REST: how pools are filled, what hosts are for, and where a machine would go."""

from __future__ import annotations

import pytest

from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Host, HostPool

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    return factories.tenant_with_owner("acme")


@pytest.fixture
def desk(house: House) -> Rest:
    for name in ("a", "b"):
        factories.host_up(name, memory_mib=512 + 2048)
    factories.flavor("one", memory_mib=1024)
    return Rest(factories.operator()[1])


def test_a_pool_is_made_and_changed(desk: Rest) -> None:
    made = desk.post("/host-pools", {"name": "near", "cpu_overcommit": "4", "spare_hosts": 1})
    assert made.status == 201
    assert (made.json["cpu_overcommit"], made.json["memory_overcommit"]) == ("4.00", "1.00")
    assert (made.json["packs"], made.json["spare_hosts"]) == (False, 1)

    path = f"/host-pools/{made.json['id']}"
    changed = desk.patch(path, {"packs": True, "memory_overcommit": "1.25"})
    assert changed.status == 200
    assert desk.get(path).json == {**made.json, "packs": True, "memory_overcommit": "1.25"}
    pool = HostPool.objects.get(name="near")
    assert (pool.spare_hosts, str(pool.memory_overcommit)) == (1, "1.25")


@pytest.mark.parametrize(
    ("wrong", "pointer"),
    [
        ({"memory_overcommit": "0.9"}, "/memory_overcommit"),
        ({"cpu_overcommit": "NaN"}, "/cpu_overcommit"),
        ({"spare_hosts": -1}, "/spare_hosts"),
        ({"name": "Not A Name"}, "/name"),
        ({"name": "default"}, "/name"),
        ({"suspect_after_s": 20, "down_after_s": 20}, "/down_after_s"),
    ],
)
def test_a_pool_that_cannot_be_is_refused_by_its_field(desk: Rest, wrong: dict[str, object], pointer: str) -> None:
    answer = desk.post("/host-pools", {"name": "near", **wrong})

    assert answer.status == 422
    assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
    assert HostPool.objects.count() == 1


def test_where_a_machine_would_go_is_told_host_by_host(desk: Rest, house: House) -> None:
    second = Host.objects.get(name="b")
    changed = desk.patch(f"/hosts/{second.pk}", {"labels": ["ssd"], "set_aside_for": "acme"})
    assert (changed.status, changed.json["labels"]) == (200, ["ssd"])
    assert changed.json["set_aside_for"] == str(house.tenant.pk)

    anyone = desk.get("/placements?flavor=one").json
    mine = desk.get("/placements?flavor=one&tenant=acme").json

    assert {each["name"]: (each["lack"], each["slots"]) for each in anyone["hosts"]} == {
        "a": ("", 2),
        "b": ("set_aside", 0),
    }
    assert (anyone["chosen"], anyone["fit"]) == (str(Host.objects.get(name="a").pk), 2)
    assert {each["name"]: (each["lack"], each["slots"]) for each in mine["hosts"]} == {
        "a": ("set_aside", 0),
        "b": ("", 2),
    }
    assert mine["chosen"] == str(second.pk)

    freed = desk.patch(f"/hosts/{second.pk}", {"set_aside_for": "", "maintenance": True}).json
    assert (freed["set_aside_for"], freed["maintenance"], freed["labels"]) == (None, True, ["ssd"])
    assert [each["lack"] for each in desk.get("/placements?flavor=one").json["hosts"]] == ["", "maintenance"]


def test_what_an_image_asks_of_hosts_is_told_to_operators_by_host_and_to_customers_in_words(
    desk: Rest, house: House
) -> None:
    Host.objects.filter(name="a").update(traits=["uefi"])
    Host.objects.filter(name="b").update(traits=None)
    factories.image_built("strict", firmware="uefi", secure_boot=True)
    wish = {"name": "web", "image": "strict", "flavor": "one"}
    rest = Rest(house.token)

    looked = desk.get("/placements?flavor=one&image=strict").json
    dry = rest.post(f"{house.url}/guests?dry_run=true", wish)
    refused = rest.post(f"{house.url}/guests", wish)

    assert {each["name"]: (each["lack"], each["slots"]) for each in looked["hosts"]} == {
        "a": ("secure_boot", 0),
        "b": ("untested", 0),
    }
    assert (looked["chosen"], looked["fit"]) == (None, 0)
    nowhere = "No host in service has the firmware or the TPM that this machine asks for."
    assert (dry.status, dry.json["fits"], dry.json["more_fit"]) == (200, False, 0)
    assert dry.json["reasons"] == [{"code": "no_room", "message": nowhere}]
    assert (refused.status, refused.json["code"], refused.json["detail"]) == (409, "no_room", nowhere)
    assert [desk.get(f"/hosts/{host.pk}").json["traits"] for host in Host.objects.order_by("name")] == [["uefi"], None]

    Host.objects.filter(name="b").update(traits=["uefi", "secure_boot"])
    looked = desk.get("/placements?flavor=one&image=strict").json
    assert (looked["chosen"], looked["fit"]) == (str(Host.objects.get(name="b").pk), 2)
    assert rest.post(f"{house.url}/guests?dry_run=true", wish).json["more_fit"] == 1
    assert rest.post(f"{house.url}/guests", wish).status == 202


def test_what_is_not_there_is_named(desk: Rest) -> None:
    host = Host.objects.get(name="a")

    assert desk.get("/placements?flavor=none&tenant=nobody").status == 422
    assert desk.get("/placements?flavor=one&image=none").json["errors"][0]["pointer"] == "/image"
    assert desk.patch(f"/hosts/{host.pk}", {"set_aside_for": "nobody"}).status == 422
    assert desk.patch(f"/hosts/{host.pk}", {"labels": ["Not A Word"]}).json["errors"][0]["pointer"] == "/labels"
    host.refresh_from_db()
    assert (host.labels, host.set_aside_for) == ([], None)
