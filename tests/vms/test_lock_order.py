"""Machines before what belongs to them, and all of them before the first journal entry: nobody waits in a circle."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations.services import operation_cancel
from tenants.journal.ledger import journal_lock
from tenants.scoping import tenant_scope
from tests import factories
from tests.factories import House
from tests.portal.api.rest import Rest
from tests.support.crowd import meeting
from vms.models import Guest, Volume
from vms.services.guests import guest_create
from vms.services.volumes.check import guest_locked, locked
from vms.specs import GuestSpec

pytestmark = pytest.mark.django_db(transaction=True)


def within[T](house: House, deed: Callable[[], T]) -> Callable[[], T]:
    """In the scope of its tenant, in whatever thread."""

    def go() -> T:
        with tenant_scope(house.tenant):
            return deed()

    return go


def test_who_calls_many_machines_off_does_not_wait_in_a_circle_for_one_that_was_just_seen() -> None:
    factories.host_up()
    house = factories.tenant_with_owner(limits={"guests": None, "running_guests": None})
    with tenant_scope(house.tenant):
        spec = GuestSpec("g", factories.flavor("small"), factories.image(), count=2)
        parent = guest_create(house.tenant, spec, actor=house.actor)
        last = Guest.objects.get(name="g-2")

    called_off = meeting(
        within(house, lambda: guest_locked(last.pk)),
        within(house, lambda: operation_cancel(parent, actor=house.actor)),
        within(house, lambda: journal_lock(house.tenant)),
    )

    assert not isinstance(called_off, Exception), called_off
    parent.refresh_from_db()
    assert {child.status for child in parent.children.all()} == {"cancelled"}


def test_if_match_does_not_lock_a_volume_before_its_machine() -> None:
    house = factories.tenant_with_owner()
    guest = factories.guest(house)
    with tenant_scope(house.tenant):
        volume = Volume.objects.get(guest=guest, position=0)
    rest, url = Rest(house.token), f"{house.url}/volumes/{volume.pk}"
    tag = rest.get(url).headers["ETag"]

    answer = meeting(
        within(house, lambda: guest_locked(guest.pk)),
        lambda: rest.ask("PATCH", url, {"name": "system"}, If_Match=tag),
        within(house, lambda: locked(volume)),
    )

    assert not isinstance(answer, Exception), answer
    assert (answer.status, answer.json["name"]) == (200, "system")
