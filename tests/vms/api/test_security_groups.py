"""Security groups over REST."""

from __future__ import annotations

from typing import Any

import pytest

from operations.models import Operation
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Guest, SecurityGroup
from vms.states import Power

pytestmark = pytest.mark.django_db
WEB = [{"direction": "in", "protocol": "tcp", "first_port": 443, "last_port": 443}, {"direction": "out"}]


@pytest.fixture
def house(db: None) -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def done(answer: Any) -> None:
    """A worker has done what was accepted."""
    assert answer.status == 202, answer.json
    operation = Operation.objects.get(pk=answer.json["id"])
    with tenant_scope(operation.tenant):
        factories.operation_done(operation)


def test_a_group_is_made_changed_and_deleted(house: House, rest: Rest) -> None:
    made = rest.post(f"{house.url}/security-groups", {"name": "web", "rules": WEB})
    assert made.status == 201
    here = made.headers["Location"].removeprefix("/api/v1")
    shown = rest.get(here)
    assert shown.json["rules"][0] == {
        "direction": "in", "protocol": "tcp", "first_port": 443, "last_port": 443, "cidr": "", "group": "", "note": "",
    }  # fmt: skip
    assert (shown.json["ports"], shown.json["pending"], shown.json["default"]) == (0, False, False)

    done(rest.put(f"{here}/rules", {"rules": [*WEB, {"direction": "in", "group": "self"}]}))
    assert rest.get(here).json["rules"][2]["group"] == made.json["id"]
    stale = rest.put(f"{here}/rules", {"rules": []}, **{"If-Match": shown.headers["ETag"]})
    assert stale.status == 412
    assert rest.patch(here, {"name": "shop", "note": "Ours"}).json["name"] == "shop"
    assert rest.patch(here, {"name": "No Name"}).status == 422

    assert rest.delete(here).status == 204
    assert rest.get(here).status == 404


def test_rules_that_are_being_changed_take_no_second_change(house: House, rest: Rest) -> None:
    here = f"{house.url}/security-groups/" + rest.post(f"{house.url}/security-groups", {"name": "web"}).json["id"]
    first = rest.put(f"{here}/rules", {"rules": WEB})
    assert rest.get(here).json["pending"] is True

    assert rest.put(f"{here}/rules", {"rules": []}).json["code"] == "operation_in_progress"
    assert rest.delete(here).json["code"] == "operation_in_progress"

    done(first)
    assert rest.get(here).json["pending"] is False


def test_machines_are_made_in_groups_and_their_ports_say_so(house: House, rest: Rest) -> None:
    rest.post(f"{house.url}/security-groups", {"name": "web", "rules": WEB})
    body = {"name": "m", "flavor": factories.flavor("small").name, "image": factories.image().name}
    done(rest.post(f"{house.url}/guests", {**body, "security_groups": ["web", "web"]}))
    done(rest.post(f"{house.url}/guests", {**body, "name": "n"}))

    ports = rest.get(f"{house.url}/ports").json["items"]
    assert sorted(port["security_groups"] for port in ports) == [["default"], ["web"]]
    assert rest.post(f"{house.url}/guests", {**body, "name": "o", "security_groups": ["none"]}).status == 422

    port = next(port for port in ports if port["security_groups"] == ["web"])
    with tenant_scope(house.tenant):
        factories.guest_seen(Guest.objects.get(name="m"), Power.RUNNING)
    done(rest.put(f"{house.url}/ports/{port['id']}/security-groups", {"security_groups": ["default", "web"]}))
    assert rest.get(f"{house.url}/ports/{port['id']}").json["security_groups"] == ["default", "web"]
    assert rest.put(f"{house.url}/ports/{port['id']}/security-groups", {"security_groups": []}).status == 422
    back = rest.post(f"{house.url}/networks", {"name": "back"}).json["id"]
    here = f"{house.url}/guests/{port['guest']}/ports"
    assert rest.post(here, {"network": back, "security_groups": ["none"]}).status == 422
    done(rest.post(here, {"network": back, "security_groups": ["web"]}))
    listed = rest.get(f"{house.url}/security-groups").json["items"]
    assert {group["name"]: group["ports"] for group in listed} == {"default": 2, "web": 2}


def test_at_most_so_many(house: House, rest: Rest, settings: Any) -> None:
    settings.CAPS = {**settings.CAPS, "security_groups": 1}
    assert rest.post(f"{house.url}/security-groups", {"name": "one"}).status == 201

    refused = rest.post(f"{house.url}/security-groups", {"name": "two"})

    assert refused.json["code"] == "too_many_groups"
    with tenant_scope(house.tenant):
        assert SecurityGroup.objects.count() == 1
