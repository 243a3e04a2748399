"""What is gone for good uses nothing, whatever was last seen of it."""

from __future__ import annotations

import pytest

from portal.core.clock import now
from tenants.journal.usage import usage_switch
from tenants.models import UsageInterval
from tenants.scoping import tenant_scope
from tests import factories
from vms.reconcile.audit import audit
from vms.services.guests import guest_delete
from vms.states import Power

pytestmark = pytest.mark.django_db


def test_a_machine_purged_while_it_was_last_seen_running_stops_to_count() -> None:
    house = factories.tenant_with_owner()
    guest = factories.guest(house, power=Power.RUNNING)

    with tenant_scope(house.tenant):
        assert UsageInterval.objects.filter(ended_at=None, resource_id=guest.pk).count() == 2
        factories.operation_done(guest_delete(guest, actor=house.actor, purge=True))

        assert not UsageInterval.objects.filter(ended_at=None).exists()
        assert set(UsageInterval.objects.values_list("meter", flat=True)) == {"vcpus", "memory_mib", "disk_gib"}
    assert [line for line in audit() if line.startswith("I5")] == []


def test_the_audit_finds_what_counts_on_without_being_there() -> None:
    house = factories.tenant_with_owner()
    guest = factories.guest(house, power=Power.RUNNING)
    with tenant_scope(house.tenant):
        factories.operation_done(guest_delete(guest, actor=house.actor, purge=True))
        usage_switch(house.tenant, resource_type="guest", resource_id=guest.pk, meter="vcpus", quantity=1, at=now())

    assert [line for line in audit() if line.startswith("I5")] == [
        f"I5 vcpus of guest {guest.pk} counts on, and it is gone"
    ]
