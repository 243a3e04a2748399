"""Who had an address, and when: written with every card that comes and goes, and true for good."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import DatabaseError, transaction

from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests import factories
from tests.portal.api.rest import Rest
from tests.vms.reconcile.bench import Bench
from vms.models import Address, AddressUse
from vms.services.addresses import port_create
from vms.services.ports import port_attach, port_detach


def uses(ip: str) -> list[AddressUse]:
    with every_tenant(why="test"):
        return list(AddressUse.objects.filter(ip=ip).order_by("since"))


def test_an_address_that_went_from_one_machine_to_another_is_told_apart_by_the_moment(bench: Bench) -> None:
    house, back = bench.house, factories.network(bench.house, "back")
    first, second = bench.guest(), bench.guest()
    with tenant_scope(house.tenant):
        assert run(port_attach(first, back, actor=house.actor).pk) == "succeeded"
        port = first.ports.select_related("guest").get(network=back)
        ip = port.addresses.get().ip
        assert run(port_detach(port, actor=house.actor).pk) == "succeeded"
        assert run(port_attach(second, back, actor=house.actor, ip=ip).pk) == "succeeded"
    former, present = uses(ip)
    assert former.until is not None
    assert (former.guest_id, present.guest_id, present.until) == (first.pk, second.pk, None)
    assert former.until <= present.since

    assert run(bench.ask(second, "purge").pk) == "succeeded"
    assert bench.is_gone(second)
    gone = uses(ip)[1]
    assert gone.until is not None

    own, operator = Rest(house.token), Rest(factories.operator()[1])
    other = Rest(factories.tenant_with_owner().token)
    for at, guest in ((former.since, first), (present.since, second), (gone.until, None)):
        query = f"ip={ip}&at={at.isoformat().replace('+00:00', 'Z')}"
        for answer in (own.get(f"{house.url}/addresses?{query}"), operator.get(f"/api/v1/addresses?{query}")):
            assert answer.status == 200, answer.json
            assert [row["guest"] for row in answer.json["items"]] == ([str(guest.pk)] if guest else [])
    told = operator.get(f"/api/v1/addresses?ip={ip}").json["items"]
    assert {row["tenant"] for row in told} == {house.tenant.slug}
    assert other.get(f"/api/v1/addresses?ip={ip}").status in (403, 404)
    for wrong in ("nonsense", "10.0.0.0/8", "10.1"):
        assert own.get(f"{house.url}/addresses?ip={wrong}").json["items"] == []
    assert own.get(f"{house.url}/addresses?at=yesterday").status == 422


def test_the_database_itself_keeps_uses_apart_and_as_they_were(bench: Bench) -> None:
    guest = bench.guest()
    with every_tenant(why="test"):
        use = AddressUse.objects.get(guest_id=guest.pk)
    facts: dict[str, Any] = {
        field: getattr(use, field)
        for field in ("tenant_id", "ip", "mac", "port_id", "guest_id", "guest_name", "network_id", "network_name")
    }
    hour = timedelta(hours=1)

    def refused(deed: Any) -> bool:
        try:
            with every_tenant(why="test"), transaction.atomic():
                deed()
        except DatabaseError:
            return True
        return False

    assert refused(lambda: AddressUse.objects.create(**facts, since=use.since + hour))
    assert refused(lambda: AddressUse.objects.create(**facts, since=use.since + hour, until=use.since + 2 * hour))
    assert refused(lambda: AddressUse.objects.filter(pk=use.pk).update(mac="52:54:00:00:00:00"))
    assert refused(lambda: AddressUse.objects.filter(pk=use.pk).update(since=use.since - hour))
    assert not refused(lambda: AddressUse.objects.create(**facts, since=use.since - hour, until=use.since))
    assert not refused(lambda: AddressUse.objects.filter(pk=use.pk).update(until=use.since + hour))
    assert refused(lambda: AddressUse.objects.filter(pk=use.pk).update(until=None))


def test_a_clock_that_was_ahead_takes_no_address_from_anybody(bench: Bench) -> None:
    house, back = bench.house, factories.network(bench.house, "back")
    first, second = bench.guest(), bench.guest()
    ahead = factories.now() + timedelta(minutes=5)
    with tenant_scope(house.tenant):
        port = port_create(first, back, position=1)
        ip = Address.objects.get(port=port).ip
        AddressUse.objects.filter(ip=ip).update(until=ahead)
        port.delete()

        port_create(second, back, position=1, ip=ip)

    assert [use.since for use in uses(ip)][1] == ahead
