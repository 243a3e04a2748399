"""Operators write fabrics down over REST; what cannot be is refused by its field."""

from __future__ import annotations

import pytest

from tests import factories
from tests.portal.api.rest import Rest
from vms.models import Fabric, HostPool

pytestmark = pytest.mark.django_db
OUTSIDE = {
    "physnet": "outer", "outer_address": "198.51.100.5/24", "outer_gateway": "198.51.100.1", "carriers": ["a", "b"],
}  # fmt: skip


@pytest.fixture
def desk() -> Rest:
    factories.installation()
    return Rest(factories.operator()[1])


def test_a_fabric_is_written_down_tested_and_given_to_a_pool(desk: Rest) -> None:
    made = desk.post("/fabrics", {"name": "woven", **factories.FABRIC, **OUTSIDE})
    assert (made.status, made.json["kind"]) == (202, "fabric.probe")
    (shown,) = desk.get("/fabrics").json["items"]
    assert made.json["subject"]["id"] == shown["id"]
    assert (shown["carriers"], shown["mtu"], shown["seen_at"]) == (["a", "b"], 1442, None)

    path = f"/fabrics/{shown['id']}"
    etag = desk.get(path).headers["ETag"]
    changed = desk.patch(path, {"enabled": False}, If_Match=etag)
    assert (changed.status, changed.json["enabled"]) == (200, False)
    assert desk.patch(path, {"enabled": True}, If_Match=etag).status == 412
    assert desk.post(f"{path}/test").status == 202

    near = desk.post("/host-pools", {"name": "near", "fabric": "woven"})
    assert (near.json["engine"], near.json["fabric"]) == ("ovn", shown["id"])
    back = desk.patch(f"/host-pools/{near.json['id']}", {"fabric": ""})
    assert (back.json["engine"], back.json["fabric"]) == ("libvirt", None)
    assert desk.post("/host-pools", {"name": "far", "fabric": "nowhere"}).json["errors"][0]["pointer"] == "/fabric"


@pytest.mark.parametrize(
    ("wrong", "pointers"),
    [
        ({"northbound": "tcp:192.0.2.1:6641"}, ["/northbound"]),
        ({"southbound": "ssl:192.0.2.1:6642,nonsense"}, ["/southbound"]),
        ({"pki": "relative/folder"}, ["/pki"]),
        ({"pki": "/srv/../etc"}, ["/pki"]),
        ({"resolvers": ["not-an-address"]}, ["/resolvers"]),
        ({"name": "Not A Name"}, ["/name"]),
        ({"physnet": "outer"}, ["/outer_address", "/carriers"]),
        ({**OUTSIDE, "outer_address": "198.51.100.5"}, ["/outer_address"]),
        ({**OUTSIDE, "outer_gateway": "203.0.113.1"}, ["/outer_gateway"]),
        ({**OUTSIDE, "carriers": ["a", "a"]}, ["/carriers"]),
        ({**OUTSIDE, "physnet": 'x" || 1'}, ["/physnet"]),
    ],
)
def test_what_cannot_be_is_refused_by_its_field(desk: Rest, wrong: dict[str, object], pointers: list[str]) -> None:
    answer = desk.post("/fabrics", {"name": "woven", **factories.FABRIC, **wrong})

    assert answer.status == 422
    assert [error["pointer"] for error in answer.json["errors"]] == pointers
    assert not Fabric.objects.exists()


def test_nobody_but_operators_learns_of_fabrics(desk: Rest) -> None:
    factories.fabric()
    rest = Rest(factories.tenant_with_owner().token)

    assert rest.get("/fabrics").status == 403
    assert rest.post("/fabrics", {"name": "mine", **factories.FABRIC}).status == 403
    assert HostPool.objects.get().fabric is None
