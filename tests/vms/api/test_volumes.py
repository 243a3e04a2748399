"""Volumes by REST: made, plugged in, changed, deleted; and what is refused, with a sentence and nothing changed."""

from __future__ import annotations

from typing import Any

import pytest

from operations.models import Operation
from tenants.journal.models import UsageInterval
from tenants.models import Quota
from tenants.policy import BUILT_IN_ROLES, Permission
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Answer, Rest
from vms.models import Host, StorageClass, StoragePool, Volume
from vms.services.volumes import volume_record
from vms.states import HostState, Power, VolumeState

pytestmark = pytest.mark.django_db
DISK = "disk_gib:standard"


@pytest.fixture
def house() -> House:
    factories.host_up("one")
    return factories.tenant_with_owner(limits={"disk_gib": 100, "volumes": 10, "guest_volumes": 3})


@pytest.fixture
def rest(house: House) -> Rest:
    return Rest(house.token)


def done(answer: Answer) -> str:
    """A worker does it; the id of the volume."""
    assert answer.status == 202, answer
    with every_tenant(why="test"):
        operation = Operation.objects.get(pk=answer.json["id"])
        if operation.kind == "volume.create":
            volume_record(Volume.objects.get(pk=operation.subject_id), VolumeState.READY)
        with tenant_scope(operation.tenant):
            factories.operation_done(operation)
    return str(answer.json["subject"]["id"])


def held(house: House) -> dict[str, int]:
    names = ("volumes", "disk_gib", DISK)
    return dict(Quota.objects.filter(tenant=house.tenant, resource__in=names).values_list("resource", "used"))


def metered(pk: str) -> list[int]:
    """What the ledger counts of it now, in GiB."""
    with every_tenant(why="test"):
        rows = UsageInterval.objects.filter(resource_id=pk, ended_at=None)
        return list(rows.values_list("quantity", flat=True))


def test_a_volume_is_made_and_deleted_and_counts_meanwhile(house: House, rest: Rest) -> None:
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 7}))
    assert held(house) == {"volumes": 1, "disk_gib": 7, DISK: 7}
    assert metered(pk) == [7]

    shown = rest.get(f"{house.url}/volumes/{pk}")
    assert shown.json | {"created_at": ""} == {
        "id": pk, "name": "data", "guest": None, "guest_name": None, "position": None, "device": None,
        "serial": pk.replace("-", "")[:20], "size_gib": 7, "state": "ready", "storage_class": "standard", "image": None,
        "delete_with_guest": False, "boot_order": 0, "iops": 0, "mbps": 0, "operation": None, "created_at": "",
    }  # fmt: skip
    assert rest.get(f"{house.url}/volumes?attached=false").json["items"] == [shown.json]
    assert rest.get(f"{house.url}/volumes?attached=true").json["items"] == []
    renamed = rest.patch(f"{house.url}/volumes/{pk}", {"name": "photos"}, If_Match=shown.headers["ETag"])
    assert (renamed.status, renamed.json["name"]) == (200, "photos")
    assert rest.patch(f"{house.url}/volumes/{pk}", {"name": "x"}, If_Match=shown.headers["ETag"]).status == 412
    assert rest.delete(f"{house.url}/volumes/{pk}", If_Match=shown.headers["ETag"]).status == 412
    done(rest.delete(f"{house.url}/volumes/{pk}"))

    assert rest.get(f"{house.url}/volumes/{pk}").status == 404
    assert held(house) == {"volumes": 0, "disk_gib": 0, DISK: 0}
    assert metered(pk) == []


def test_a_repeated_request_makes_one_volume(house: House, rest: Rest) -> None:
    wish = {"name": "data", "size_gib": 1}
    first = rest.post(f"{house.url}/volumes", wish, Idempotency_Key="a")
    again = rest.post(f"{house.url}/volumes", wish, Idempotency_Key="a")

    assert first.json["id"] == again.json["id"]
    assert len(rest.get(f"{house.url}/volumes").json["items"]) == 1


def test_a_volume_is_plugged_in_by_name_and_taken_off(house: House, rest: Rest) -> None:
    guest = factories.guest(house, "web")
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 2}))
    asked = rest.post(f"{house.url}/volumes/{pk}/attach", {"guest": "web", "delete_with_guest": True})
    busy = rest.get(f"{house.url}/guests/{guest.pk}").json
    done(asked)

    assert busy["operation"] == asked.json["id"]
    shown = rest.get(f"{house.url}/volumes/{pk}").json
    assert (shown["guest"], shown["device"], shown["delete_with_guest"]) == (str(guest.pk), "vdb", True)
    assert [v["id"] for v in rest.get(f"{house.url}/guests/{guest.pk}").json["volumes"]][1:] == [pk]
    assert rest.delete(f"{house.url}/volumes/{pk}").json["code"] == "attached"
    assert rest.post(f"{house.url}/volumes/{pk}/attach", {"guest": "web"}).json["code"] == "attached"
    done(rest.post(f"{house.url}/volumes/{pk}/detach"))
    shown = rest.get(f"{house.url}/volumes/{pk}").json
    assert (shown["guest"], shown["device"], shown["delete_with_guest"]) == (None, None, False)
    assert rest.post(f"{house.url}/volumes/{pk}/detach").json["code"] == "not_attached"


def test_the_first_disk_stays_with_its_machine_and_can_grow(house: House, rest: Rest) -> None:
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        volume_record(guest.volumes.get(), VolumeState.READY)
    root = rest.get(f"{house.url}/volumes?guest={guest.pk}").json["items"][0]["id"]

    assert rest.post(f"{house.url}/volumes/{root}/detach").json["code"] == "root_volume"
    assert rest.delete(f"{house.url}/volumes/{root}").json["code"] == "attached"
    done(rest.post(f"{house.url}/volumes/{root}/extend", {"size_gib": 9}))
    assert rest.get(f"{house.url}/guests/{guest.pk}").json["disk_gib"] == 9
    assert metered(root) == [9]


def test_a_failed_extension_returns_what_it_reserved(house: House, rest: Rest) -> None:
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 2}))
    asked = rest.post(f"{house.url}/volumes/{pk}/extend", {"size_gib": 50})
    assert held(house)["disk_gib"] == 50

    with tenant_scope(house.tenant):
        factories.operation_broken(Operation.objects.get(pk=asked.json["id"]))

    assert held(house) == {"volumes": 1, "disk_gib": 2, DISK: 2}
    assert rest.get(f"{house.url}/volumes/{pk}").json["size_gib"] == 2
    assert metered(pk) == [2]


HOSTILE = ["../x", "%2e%2e/", "a/b", "-rf", "a\u0000b", "x" * 64, "a\u2044b", "", " ", "<b>", "A"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_name_that_is_none_is_refused(name: str, house: House, rest: Rest) -> None:
    """P-B16."""
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1}))

    assert rest.post(f"{house.url}/volumes", {"name": name, "size_gib": 1}).status == 422
    assert rest.patch(f"{house.url}/volumes/{pk}", {"name": name}).status == 422
    assert held(house)["volumes"] == 1


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("", {"name": "v", "size_gib": 0}),
        ("", {"name": "v", "size_gib": -1}),
        ("", {"name": "v", "size_gib": 10**9}),
        ("", {"name": "v", "size_gib": "5"}),
        ("", {"name": "v", "size_gib": 1, "path": "/etc/passwd"}),
        ("", {"name": "v", "size_gib": 1, "image": "nothing"}),
        ("", {"name": "v", "size_gib": 1, "storage_class": "gold"}),
        ("", {"name": "v", "size_gib": 1, "guest": "nobody"}),
        ("", {"name": "v", "size_gib": 1, "iops": 101}),
        ("extend", {"size_gib": 2}),
        ("extend", {"size_gib": 1}),
        ("limits", {"iops": 101}),
        ("limits", {"mbps": -1}),
        ("attach", {"guest": "nobody"}),
        ("attach", {}),
    ],
    ids=str,
)
def test_what_cannot_be_is_a_wrong_body(verb: str, body: Any, house: House, rest: Rest) -> None:
    StorageClass.objects.update(iops=100)
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 2}))

    answer = rest.post(f"{house.url}/volumes/{pk}/{verb}" if verb else f"{house.url}/volumes", body)

    assert answer.status == 422, answer
    assert answer.json["errors"]
    assert held(house)["disk_gib"] == 2


def test_no_more_than_the_quota_and_no_more_on_one_machine(house: House, rest: Rest) -> None:
    factories.guest(house, "web")
    assert rest.post(f"{house.url}/volumes", {"name": "v", "size_gib": 100}).json["code"] == "over_quota"
    for number in (1, 2):
        done(rest.post(f"{house.url}/volumes", {"name": f"v{number}", "size_gib": 1, "guest": "web"}))
    spare = done(rest.post(f"{house.url}/volumes", {"name": "v3", "size_gib": 1}))
    before = held(house)

    refused = rest.post(f"{house.url}/volumes/{spare}/attach", {"guest": "web"})

    assert (refused.status, refused.json["code"]) == (409, "over_quota")
    assert rest.post(f"{house.url}/volumes", {"name": "v4", "size_gib": 1, "guest": "web"}).json["code"] == "over_quota"
    assert held(house) == before


@pytest.mark.parametrize("power", [Power.PAUSED, Power.SUSPENDED, Power.UNKNOWN])
def test_a_machine_in_no_state_for_it_takes_and_lets_go_of_nothing(power: Power, house: House, rest: Rest) -> None:
    guest = factories.guest(house, "web")
    hung = done(rest.post(f"{house.url}/volumes", {"name": "hung", "size_gib": 1, "guest": "web"}))
    spare = done(rest.post(f"{house.url}/volumes", {"name": "spare", "size_gib": 1}))
    with tenant_scope(house.tenant):
        factories.guest_seen(guest, power)

    code = "host_silent" if power == Power.UNKNOWN else "wrong_state"
    assert rest.post(f"{house.url}/volumes/{spare}/attach", {"guest": "web"}).json["code"] == code
    assert rest.post(f"{house.url}/volumes/{hung}/detach").json["code"] == code
    assert rest.post(f"{house.url}/volumes", {"name": "v", "size_gib": 1, "guest": "web"}).json["code"] == code
    grown = rest.post(f"{house.url}/volumes/{hung}/extend", {"size_gib": 2})
    assert grown.status == 202 if power == Power.PAUSED else grown.json["code"] == code


def test_a_volume_is_plugged_in_only_where_it_lies(house: House, rest: Rest) -> None:
    factories.guest(house, "web")
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1}))
    other = factories.host_up("two")
    with every_tenant(why="test"):
        Volume.objects.filter(pk=pk).update(pool=StoragePool.objects.get(host=other))

    refused = rest.post(f"{house.url}/volumes/{pk}/attach", {"guest": "web"})

    assert (refused.status, refused.json["code"]) == (409, "other_host")
    Host.objects.filter(pk=other.pk).update(state=HostState.DOWN)
    assert rest.post(f"{house.url}/volumes/{pk}/attach", {"guest": "web"}).json["code"] == "host_silent"


def test_no_pool_with_room_is_a_refusal_that_changes_nothing(house: House, rest: Rest) -> None:
    StoragePool.objects.update(capacity=10**12, available=10**9)

    refused = rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 2})

    assert (refused.status, refused.json["code"]) == (409, "no_storage")
    assert set(held(house).values()) <= {0}


def test_in_the_bin_a_machine_lets_go_and_takes_nothing(house: House, rest: Rest) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1, "guest": "web"}))
    with tenant_scope(house.tenant):
        done(rest.delete(f"{house.url}/guests/{guest.pk}"))

    assert rest.post(f"{house.url}/volumes/{pk}/extend", {"size_gib": 2}).json["code"] == "in_bin"
    done(rest.post(f"{house.url}/volumes/{pk}/detach"))
    assert rest.get(f"{house.url}/volumes/{pk}").json["guest"] is None
    assert rest.post(f"{house.url}/volumes/{pk}/attach", {"guest": str(guest.pk)}).status == 422


def test_two_disks_never_have_one_place_in_the_boot_order(house: House, rest: Rest) -> None:
    guest = factories.guest(house, "web")
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1, "guest": "web"}))

    assert rest.patch(f"{house.url}/volumes/{pk}", {"boot_order": 1}).json["boot_order"] == 1

    volumes = rest.get(f"{house.url}/volumes?guest={guest.pk}&sort=created_at").json["items"]
    assert [volume["boot_order"] for volume in volumes] == [2, 1]


def test_whose_role_holds_on_some_machines_plugs_into_no_other(house: House) -> None:
    ours, theirs = factories.guest(house, "ours", tags=["a"]), factories.guest(house, "theirs", tags=["b"])
    _person, token = factories.member_with(house.tenant, BUILT_IN_ROLES["member"], tags=["a"])
    rest = Rest(token)

    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1, "guest": "ours"}))

    assert rest.get(f"{house.url}/volumes/{pk}").json["guest"] == str(ours.pk)
    assert rest.post(f"{house.url}/volumes", {"name": "v", "size_gib": 1}).status == 422
    for name in ("theirs", str(theirs.pk)):
        assert rest.post(f"{house.url}/volumes", {"name": "v", "size_gib": 1, "guest": name}).status == 422
    _person, token = factories.member_with(
        house.tenant, [Permission.GUEST_EDIT, Permission.VOLUME_MANAGE, Permission.GUEST_VIEW], tags=["none"]
    )
    assert Rest(token).post(f"{house.url}/volumes/{pk}/detach").status == 404


def test_a_machines_deletion_says_what_becomes_of_its_volumes(house: House, rest: Rest) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1, "guest": "web"}))

    assert rest.delete(f"{house.url}/guests/{guest.pk}?volumes=true").status == 202

    assert rest.get(f"{house.url}/volumes/{pk}").json["delete_with_guest"] is True


def test_a_machine_is_made_with_further_disks_that_return_with_it(house: House, rest: Rest) -> None:
    factories.flavor("small")
    wish = {"name": "web", "flavor": "small", "image": str(factories.image().pk), "count": 2}
    wish["volumes"] = [{"size_gib": 5}, {"name": "logs", "size_gib": 6, "delete_with_guest": True}]

    fit = rest.post(f"{house.url}/guests?dry_run=true", wish)
    made = rest.post(f"{house.url}/guests", wish)

    assert fit.json["fits"], fit
    assert made.status == 202, made
    assert held(house) == {"volumes": 6, "disk_gib": 24, DISK: 24}
    for guest in rest.get(f"{house.url}/guests").json["items"]:
        volumes = rest.get(f"{house.url}/volumes?guest={guest['id']}&sort=size_gib").json["items"]
        assert [(v["device"], v["size_gib"], v["delete_with_guest"]) for v in volumes] == [
            ("vda", 1, True), ("vdb", 5, False), ("vdc", 6, True),
        ]  # fmt: skip
    with tenant_scope(house.tenant):
        for operation in Operation.objects.filter(kind="guest.create"):
            factories.operation_broken(operation)
    assert held(house) == {"volumes": 0, "disk_gib": 0, DISK: 0}


@pytest.mark.parametrize(
    "disk",
    [{"size_gib": 0}, {"size_gib": 1, "name": "../x"}, {"size_gib": 1, "storage_class": "gold"}, {}, "data"],
    ids=str,
)
def test_a_further_disk_that_cannot_be_is_named_by_its_place(disk: Any, house: House, rest: Rest) -> None:
    factories.flavor("small")
    wish = {"name": "web", "flavor": "small", "image": str(factories.image().pk), "volumes": [{"size_gib": 1}, disk]}

    answer = rest.post(f"{house.url}/guests", wish)

    assert answer.status == 422, answer
    assert answer.json["errors"][0]["pointer"].startswith("/volumes/1")


def test_no_more_disks_than_one_machine_may_have(house: House, rest: Rest) -> None:
    factories.flavor("small")
    wish = {"name": "web", "flavor": "small", "image": str(factories.image().pk), "volumes": [{"size_gib": 1}] * 3}

    assert rest.post(f"{house.url}/guests", wish).json["code"] == "over_quota"
    assert rest.post(f"{house.url}/guests", {**wish, "volumes": [{"size_gib": 1}] * 25}).status == 422


def test_who_may_not_manage_volumes_makes_and_deletes_none_with_a_machine(house: House, rest: Rest) -> None:
    guest = factories.guest(house, "web", power=Power.STOPPED)
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 1, "guest": "web"}))
    factories.flavor("small")
    grants = BUILT_IN_ROLES["member"] - {Permission.VOLUME_MANAGE}
    _person, token = factories.member_with(house.tenant, grants)
    wish = {"name": "x", "flavor": "small", "image": str(factories.image().pk), "volumes": [{"size_gib": 1}]}

    assert Rest(token).post(f"{house.url}/guests", wish).status == 403
    assert Rest(token).post(f"{house.url}/guests?dry_run=true", wish).status == 403
    assert Rest(token).delete(f"{house.url}/guests/{guest.pk}?volumes=true").status == 403
    assert rest.get(f"{house.url}/volumes/{pk}").json["delete_with_guest"] is False
    assert Rest(token).delete(f"{house.url}/guests/{guest.pk}").status == 202


@pytest.mark.parametrize("query", ["q=%00", "cursor=%00", "cursor=x", "guest=%00", "sort=%00", "state=x", "attached=2"])
def test_an_odd_question_is_answered_in_order(query: str, rest: Rest, house: House) -> None:
    assert rest.get(f"{house.url}/volumes?{query}").status in (200, 400, 422)


def test_a_machine_goes_to_the_host_that_has_room_for_all_its_disks(house: House, rest: Rest) -> None:
    factories.flavor("small")
    roomy = factories.host_up("two")
    StoragePool.objects.update(capacity=10**12, available=5 * 10**9)
    StoragePool.objects.filter(host=roomy).update(available=10**11)
    wish = {"flavor": "small", "image": str(factories.image().pk), "volumes": [{"size_gib": 6}]}

    for name in ("a", "b", "c"):
        answer = rest.post(f"{house.url}/guests", {**wish, "name": name})
        assert answer.status == 202, answer
    huge = {**wish, "name": "d", "volumes": [{"size_gib": 94}]}
    assert not rest.post(f"{house.url}/guests?dry_run=true", huge).json["fits"]
    with every_tenant(why="test"):
        assert set(Volume.objects.values_list("pool__host__name", flat=True)) == {"two"}


def test_a_dry_run_says_what_a_volume_would_take_and_changes_nothing(house: House, rest: Rest) -> None:
    before = held(house)

    fits = rest.post(f"{house.url}/volumes?dry_run=true", {"name": "data", "size_gib": 40})
    short = rest.post(f"{house.url}/volumes?dry_run=true", {"name": "data", "size_gib": 400})
    wrong = rest.post(f"{house.url}/volumes?dry_run=true", {"name": "NO", "size_gib": 1})

    assert (fits.status, fits.json["fits"], fits.json["more_fit"]) == (200, True, 1)
    lines = {line["name"]: (line["before"], line["after"], line["limit"]) for line in fits.json["quota"]}
    assert (lines["disk_gib"], lines["volumes"]) == ((0, 40, 100), (0, 1, 10))
    assert (short.json["fits"], {reason["code"] for reason in short.json["reasons"]}) == (False, {"over_quota"})
    assert [reason["code"] for reason in wrong.json["reasons"]] == ["invalid_name"]
    assert held(house) == before
    assert not Operation.objects.filter(kind="volume.create").exists()


def test_a_dry_run_says_what_a_larger_volume_would_take(house: House, rest: Rest) -> None:
    pk = done(rest.post(f"{house.url}/volumes", {"name": "data", "size_gib": 10}))
    extend = f"{house.url}/volumes/{pk}/extend?dry_run=true"

    fits, short, small = (rest.post(extend, {"size_gib": size}) for size in (60, 600, 10))

    assert (fits.status, fits.json["fits"], fits.json["more_fit"]) == (200, True, 40)
    assert [(q["before"], q["after"]) for q in fits.json["quota"] if q["name"] == "disk_gib"] == [(10, 60)]
    assert [reason["code"] for reason in short.json["reasons"]] == ["over_quota"]
    assert [reason["code"] for reason in small.json["reasons"]] == ["invalid_size"]
    assert held(house)["disk_gib"] == 10
