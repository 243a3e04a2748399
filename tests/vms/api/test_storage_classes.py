"""Storage classes over REST: operators write promises, tenants read those that are offered, and one is the default."""

from __future__ import annotations

import pytest

from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import StorageClass, StoragePool

pytestmark = pytest.mark.django_db
PATH = "/storage-classes"


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def desk() -> Rest:
    return Rest(factories.operator()[1])


def wrong(answer: object) -> list[str]:
    return [error["code"] for error in answer.json["errors"]]  # type: ignore[attr-defined]


def test_an_operator_makes_one_and_a_tenant_reads_it(desk: Rest, house: House) -> None:
    wish = {"name": "gold", "media": "nvme", "iops": 500, "mbps": 200, "scrub": "zero"}

    made = desk.post(PATH, wish)

    assert made.status == 201
    seen = Rest(house.token).get(f"{PATH}/{made.json['id']}").json
    shown = {"id": made.json["id"], "is_default": False, "enabled": True, "pools": [], "price": None}
    assert seen == {**wish, **shown}
    names = [row["name"] for row in Rest(house.token).get(PATH).json["items"]]
    assert names == ["gold", "standard"]


def test_one_that_is_offered_no_longer_takes_no_new_volumes(desk: Rest, house: House) -> None:
    gold = desk.post(PATH, {"name": "gold"}).json["id"]
    assert desk.patch(f"{PATH}/{gold}", {"enabled": False}).status == 200

    mine = Rest(house.token)
    assert mine.get(f"{PATH}/{gold}").status == 404
    answer = mine.post(f"{house.url}/volumes", {"name": "v", "size_gib": 1, "storage_class": "gold"})
    assert (answer.status, wrong(answer)) == (422, ["class_gone"])
    assert desk.get(f"{PATH}/{gold}").json["enabled"] is False


def test_another_default_needs_a_pool_and_then_the_former_is_it_no_longer(desk: Rest, house: House) -> None:
    gold = desk.post(PATH, {"name": "gold"}).json["id"]
    answer = desk.patch(f"{PATH}/{gold}", {"is_default": True})
    assert (answer.status, wrong(answer)) == (422, ["no_pool"])

    StoragePool.objects.update(storage_class=gold)
    assert desk.patch(f"{PATH}/{gold}", {"is_default": True}).status == 200

    assert list(StorageClass.objects.filter(is_default=True).values_list("name", flat=True)) == ["gold"]


@pytest.mark.parametrize(
    ("change", "code"),
    [({"is_default": False}, "needs_one"), ({"enabled": False}, "is_default"), ({"iops": -1}, "greater_than_equal")],
    ids=["no default", "default not offered", "no limit at all"],
)
def test_what_would_break_the_default_is_refused(desk: Rest, change: dict[str, object], code: str) -> None:
    standard = StorageClass.objects.get(is_default=True)

    answer = desk.patch(f"{PATH}/{standard.pk}", change)

    assert (answer.status, wrong(answer)) == (422, [code])


@pytest.mark.parametrize("name", ["Gold", "", "g/../x", "standard"])
def test_a_name_that_quotas_could_not_know_is_refused(desk: Rest, name: str) -> None:
    assert desk.post(PATH, {"name": name}).status == 422


def test_somebody_elses_change_is_not_overwritten(desk: Rest, house: House) -> None:
    gold = f"{PATH}/{desk.post(PATH, {'name': 'gold'}).json['id']}"
    before = desk.get(gold).headers["ETag"]
    desk.patch(gold, {"iops": 5})

    assert desk.patch(gold, {"iops": 7}, **{"If-Match": before}).status == 412
    assert Rest(house.token).patch(gold, {"iops": 7}).status == 403
