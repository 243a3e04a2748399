"""Guests by REST."""

from __future__ import annotations

import pytest

from operations.models import Operation
from tenants.models import Quota
from tenants.policy import Permission
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from vms.models import Guest
from vms.states import Power

pytestmark = pytest.mark.django_db


@pytest.fixture
def house() -> House:
    factories.host_up()
    return factories.tenant_with_owner()


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def test_a_guest_is_created_and_its_operation_says_where_to_watch_it(house: House, rest: Rest) -> None:
    flavor, image = factories.flavor("small"), factories.image("tiny")
    body = {"name": "web-1", "flavor": "small", "image": str(image.pk), "tags": ["web"]}

    answer = rest.post(f"{house.url}/guests", body)

    assert answer.status == 202, answer
    assert answer.headers["Location"] == f"{house.url}/operations/{answer.json['id']}"
    assert answer.json["subject"]["name"] == "web-1"
    assert answer.json["status"] == "queued"
    guest = rest.get(f"{house.url}/guests/{answer.json['subject']['id']}")
    assert guest.status == 200
    assert guest.json["status"] == "building"
    assert guest.json["flavor"] == str(flavor.pk)
    assert guest.json["operation"] == answer.json["id"]
    assert guest.json["tags"] == ["web"]
    assert guest.json["addresses"][0]["ip"].startswith("10.")
    assert guest.json["volumes"][0]["size_gib"] == flavor.disk_gib
    assert "host" not in guest.json
    assert rest.get(answer.headers["Location"]).headers["x-operation-live"] == "1"


def test_count_makes_a_parent_operation_with_children(house: House, rest: Rest) -> None:
    factories.flavor("small"), factories.image("tiny")

    answer = rest.post(f"{house.url}/guests", {"name": "web", "flavor": "small", "image": "tiny", "count": 3})

    assert answer.status == 202, answer
    assert [child["subject"]["name"] for child in answer.json["children"]] == ["web-1", "web-2", "web-3"]
    assert all(child["parent"] == answer.json["id"] for child in answer.json["children"])


def test_a_dry_run_says_what_would_be_and_changes_nothing(house: House, rest: Rest) -> None:
    factories.flavor("small"), factories.image("tiny")

    answer = rest.post(f"{house.url}/guests?dry_run=true", {"name": "web", "flavor": "small", "image": "tiny"})

    assert answer.status == 200, answer
    assert answer.json["fits"] is True
    assert {"name": "guests", "before": 0, "after": 1, "limit": 10} in answer.json["quota"]
    assert answer.json["price"] is None
    assert answer.json["more_fit"] > 0
    with tenant_scope(house.tenant):
        assert not Guest.objects.exists()


def test_a_dry_run_says_what_another_has_already(house: House, rest: Rest) -> None:
    factories.flavor("small"), factories.image("tiny")
    lan = rest.post(f"{house.url}/networks", {"name": "lan", "cidr": "10.20.0.0/29"}).json
    wish = {"flavor": "small", "image": "tiny", "networks": ["lan"]}
    assert rest.post(f"{house.url}/guests", {**wish, "name": "web", "ips": ["10.20.0.3"]}).status == 202

    def against(name: str, **more: object) -> list[str]:
        body = {**wish, "name": name, **more}
        before = rest.post(f"{house.url}/guests?dry_run=true", body).json
        codes = [reason["code"] for reason in before["reasons"]]
        assert before["fits"] == (not codes)
        if codes:
            assert rest.post(f"{house.url}/guests", body).json["code"] == codes[0]
        return codes

    assert against("web") == ["name_taken"]
    assert against("db", ips=["10.20.0.3"]) == ["address_taken"]
    assert against("db", ips=[lan["subnets"][0]["gateway"]]) == ["invalid_address"]
    assert against("db", count=5) == ["no_address"], "four are left"
    assert against("db", count=4) == []


def test_who_has_a_network_called_as_the_default_one_gets_that_beside_it(house: House, rest: Rest) -> None:
    factories.flavor("small"), factories.image("tiny")
    assert rest.post(f"{house.url}/networks", {"name": "private"}).status == 201
    wish = {"name": "web", "flavor": "small", "image": "tiny"}
    assert rest.post(f"{house.url}/guests?dry_run=true", wish).json["fits"]

    made = rest.post(f"{house.url}/guests", wish)

    assert made.status == 202, made
    found = {row["name"]: row["default"] for row in rest.get(f"{house.url}/networks").json["items"]}
    assert found == {"private": False, "private-2": True}


def test_every_wrong_word_of_a_body_is_named(house: House, rest: Rest) -> None:
    answer = rest.post(
        f"{house.url}/guests", {"name": "web", "flavor": "x", "image": "y", "networks": ["z"], "ssh_keys": ["k"]}
    )

    assert answer.status == 422
    assert {fault["pointer"] for fault in answer.json["errors"]} == {"/flavor", "/image", "/networks/0", "/ssh_keys/0"}


def test_an_over_quota_is_refused_and_nothing_is_left(rest: Rest) -> None:
    small = factories.tenant_with_owner(limits={"guests": 1})
    factories.flavor("small"), factories.image("tiny")

    body = {"name": "web", "flavor": "small", "image": "tiny", "count": 2}
    answer = Rest(small.token).post(f"{small.url}/guests", body, Idempotency_Key="one")

    assert answer.status == 409
    assert answer.json["code"] == "over_quota"
    assert Quota.objects.get(tenant=small.tenant, resource="guests").used == 0
    assert not Operation.objects.filter(tenant=small.tenant).exists()
    assert Rest(small.token).post(f"{small.url}/guests", {**body, "count": 1}, Idempotency_Key="one").status == 202


@pytest.mark.parametrize(
    ("power", "action"),
    [
        (Power.STOPPED, "start"),
        (Power.RUNNING, "shutdown"),
        (Power.RUNNING, "stop"),
        (Power.RUNNING, "reboot"),
        (Power.RUNNING, "reset"),
        (Power.RUNNING, "pause"),
        (Power.PAUSED, "resume"),
        (Power.RUNNING, "suspend"),
        (Power.SUSPENDED, "wake"),
    ],
)
def test_each_button_is_a_route(house: House, rest: Rest, power: Power, action: str) -> None:
    guest = factories.guest(house, power=power)

    answer = rest.post(f"{house.url}/guests/{guest.pk}/{action}")

    assert answer.status == 202, answer
    assert answer.json["kind"] == f"guest.{action}"
    assert answer.json["label"].endswith(guest.name)
    assert rest.post(f"{house.url}/guests/{guest.pk}/{action}", {}).json["code"] == "operation_in_progress"


def test_a_shutdown_may_be_given_a_time(house: House, rest: Rest) -> None:
    guest = factories.guest(house)

    assert rest.post(f"{house.url}/guests/{guest.pk}/shutdown", {"grace_s": 0}).status == 422
    answer = rest.post(f"{house.url}/guests/{guest.pk}/shutdown", {"grace_s": 5})

    assert Operation.objects.get(pk=answer.json["id"]).params == {"want_before": "running", "grace_s": 5}


def test_a_change_bumps_the_etag_and_a_stale_one_is_refused(house: House, rest: Rest) -> None:
    guest = factories.guest(house)
    path = f"{house.url}/guests/{guest.pk}"
    first = rest.get(path).headers["ETag"]

    changed = rest.patch(path, {"name": "renamed", "tags": ["a", "b"], "protected": True}, If_Match=first)

    assert changed.status == 200, changed
    assert (changed.json["name"], changed.json["tags"], changed.json["protected"]) == ("renamed", ["a", "b"], True)
    assert changed.headers["ETag"] != first
    assert rest.get(path).headers["ETag"] == changed.headers["ETag"]
    stale = rest.patch(path, {"name": "again"}, If_Match=first)
    assert (stale.status, stale.json["code"]) == (412, "stale")
    assert rest.delete(path, If_Match=first).status == 412
    assert rest.get(path).json["name"] == "renamed"


@pytest.mark.parametrize(
    "body", [{"name": None}, {"tenant": "x"}, {"version": 9}, {"host": "x"}, {"vcpus": 64}, [], "x", 1]
)
def test_what_cannot_be_changed_is_refused_and_stays(house: House, rest: Rest, body: object) -> None:
    guest = factories.guest(house)

    answer = rest.patch(f"{house.url}/guests/{guest.pk}", body)

    assert answer.status == 422, answer
    with tenant_scope(house.tenant):
        assert Guest.objects.get(pk=guest.pk).version == guest.version


def test_the_bin_is_closed_until_asked_for(house: House, rest: Rest) -> None:
    factories.guest(house, "here")
    binned = factories.guest_binned(house, "gone")

    assert [item["name"] for item in rest.get(f"{house.url}/guests").json["items"]] == ["here"]
    shown = rest.get(f"{house.url}/guests?status=binned").json["items"]
    assert [item["name"] for item in shown] == ["gone"]
    assert shown[0]["purge_after"] is not None
    restored = rest.post(f"{house.url}/guests/{binned.pk}/restore")
    assert restored.status == 202, restored
    assert rest.delete(f"{house.url}/guests/{binned.pk}?purge=true").json["code"] == "operation_in_progress"


def test_a_guest_is_deleted_or_purged(house: House, rest: Rest) -> None:
    first, second = factories.guest(house), factories.guest(house)

    assert rest.delete(f"{house.url}/guests/{first.pk}").json["kind"] == "guest.delete"
    assert rest.delete(f"{house.url}/guests/{second.pk}?purge=true").json["kind"] == "guest.purge"
    assert rest.get(f"{house.url}/guests/{first.pk}").json["status"] == "deleting"


def test_a_console_needs_a_running_machine_and_gives_a_ticket(house: House, rest: Rest) -> None:
    off, on = factories.guest(house, power=Power.STOPPED), factories.guest(house)

    assert rest.post(f"{house.url}/guests/{off.pk}/console", {"kind": "vnc"}).json["code"] == "not_running"
    answer = rest.post(f"{house.url}/guests/{on.pk}/console", {"kind": "serial"}, Idempotency_Key="k")
    again = rest.post(f"{house.url}/guests/{on.pk}/console", {"kind": "serial"}, Idempotency_Key="k")

    assert answer.status == 200, answer
    assert set(answer.json) == {"url", "ticket", "expires_at", "kind"}
    assert answer.json["ticket"] != again.json["ticket"]


def test_operators_see_the_host(house: House) -> None:
    guest = factories.guest(house)
    _person, token = factories.operator()

    shown = Rest(token).get(f"{house.url}/guests/{guest.pk}").json

    assert shown["host"] == str(guest.host_id)


def test_a_role_with_tags_sees_and_touches_only_what_wears_them(house: House) -> None:
    mine, other = factories.guest(house, tags=["web"]), factories.guest(house, tags=["db"])
    _person, token = factories.member_with(
        house.tenant, [Permission.GUEST_VIEW, Permission.GUEST_POWER, Permission.OPERATION_VIEW], tags=["web"]
    )
    rest = Rest(token)

    assert [item["id"] for item in rest.get(f"{house.url}/guests").json["items"]] == [str(mine.pk)]
    assert rest.get(f"{house.url}/guests/{other.pk}").status == 404
    assert rest.post(f"{house.url}/guests/{other.pk}/stop").status == 404
    assert rest.post(f"{house.url}/guests/{mine.pk}/stop").status == 202
    assert [item["subject"]["id"] for item in rest.get(f"{house.url}/operations").json["items"]] == [str(mine.pk)]


def test_pages_follow_each_other_and_hold_every_guest_once(house: House, rest: Rest) -> None:
    names = [factories.guest(house, f"g-{number}").name for number in range(7)]

    for sort in ("name", "-name", "created_at", "-created_at"):
        seen, cursor = [], ""
        while cursor is not None:
            page = rest.get(f"{house.url}/guests?limit=3&sort={sort}&cursor={cursor}").json
            seen += [item["name"] for item in page["items"]]
            cursor = page["next"]
        assert seen == (sorted(names, reverse=True) if sort.startswith("-") else sorted(names))


def test_a_cursor_of_another_order_or_made_up_is_refused(house: House, rest: Rest) -> None:
    for _ in range(2):
        factories.guest(house)
    cursor = rest.get(f"{house.url}/guests?limit=1&sort=name").json["next"]

    for query in (
        f"sort=-name&cursor={cursor}",
        f"sort=name&cursor={cursor}x",
        "cursor=abc",
        "sort=price",
        "limit=501",
        "stat=1",
    ):
        answer = rest.get(f"{house.url}/guests?{query}")
        assert (answer.status, answer.json["code"]) == (422, "invalid"), query


def test_a_list_costs_the_same_queries_however_long(house: House, rest: Rest, django_assert_num_queries) -> None:  # type: ignore[no-untyped-def]
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    def cost() -> int:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert rest.get(f"{house.url}/guests").status == 200
        return len(queries)

    factories.guest(house, tags=["a"])
    cost()
    one = cost()
    for _ in range(4):
        factories.guest(house, tags=["a", "b"])

    assert cost() == one
