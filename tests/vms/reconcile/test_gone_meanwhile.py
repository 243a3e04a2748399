"""A machine that is gone for good between the look-up and the lock is not there: 404, as it is for everybody else."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from operations.models import Operation
from operations.runner import run
from portal.core.errors import Missing
from tenants.scoping import tenant_scope
from tests.vms.reconcile.bench import KEY, Bench
from vms.models import Guest
from vms.models.readings import ReadingKind
from vms.services.discs import disc_insert
from vms.services.guests import (
    guest_add_keys,
    guest_delete,
    guest_edit,
    guest_look,
    guest_power,
    guest_rebuild,
    guest_rescue,
    guest_resize,
    guest_restore,
    guest_set_password,
    guest_unrescue,
)
from vms.services.guests.lease import guest_lease
from vms.states import Power

Deed = Callable[[Bench, Guest], object]
DEEDS: dict[str, Deed] = {
    "add_keys": lambda bench, guest: guest_add_keys(guest, [KEY], actor=bench.house.actor),
    "delete": lambda bench, guest: guest_delete(guest, actor=bench.house.actor),
    "edit": lambda bench, guest: guest_edit(guest, name="other", actor=bench.house.actor),
    "insert": lambda bench, guest: disc_insert(guest, bench.cd, actor=bench.house.actor),
    "lease": lambda bench, guest: guest_lease(guest, None, actor=bench.house.actor),
    "look": lambda bench, guest: guest_look(guest, ReadingKind.FACTS, actor=bench.house.actor),
    "power": lambda bench, guest: guest_power(guest, "start", actor=bench.house.actor),
    "rebuild": lambda bench, guest: guest_rebuild(guest, bench.image, actor=bench.house.actor),
    "rescue": lambda bench, guest: guest_rescue(guest, bench.image, actor=bench.house.actor),
    "resize": lambda bench, guest: guest_resize(guest, bench.larger, actor=bench.house.actor),
    "restore": lambda bench, guest: guest_restore(guest, actor=bench.house.actor),
    "set_password": lambda bench, guest: guest_set_password(guest, "correct horse", actor=bench.house.actor),
    "unrescue": lambda bench, guest: guest_unrescue(guest, actor=bench.house.actor),
}


@pytest.mark.parametrize("deed", DEEDS.values(), ids=DEEDS)
def test_a_machine_that_went_between_look_up_and_lock_is_missing(deed: Deed, bench: Bench) -> None:
    found = bench.guest(Power.STOPPED)
    assert run(bench.ask(bench.fresh(found), "purge").pk) == "succeeded"
    known = Operation.objects.count()

    with tenant_scope(bench.house.tenant):
        with pytest.raises(Missing):
            deed(bench, found)

        assert Operation.objects.count() == known
