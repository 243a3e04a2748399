"""I3, P-G3: after any history, cut off anywhere, every counter of quota is what the rows and the hosts make."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import timedelta
from typing import Any, ClassVar

import pytest
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from operations.models import Operation
from operations.runner import run
from operations.services import operation_cancel
from portal.core.clock import now
from portal.core.errors import Conflict, Invalid
from tenants.models import Quota
from tenants.scoping import every_tenant, tenant_scope
from tenants.services.quota import (
    Miscount,
    hard_limit,
    quota_request_approve,
    quota_request_make,
    quota_set,
    quota_verify,
)
from tenants.services.tenants import tenant_create
from tests import factories
from tests.factories import House
from tests.operations.kinds import lapse
from tests.vms.reconcile.bench import Bench
from tests.vms.reconcile.lives import Killed, at_points
from vms.hypervisor.errors import Refused, Unreachable
from vms.models import Guest, Volume
from vms.reconcile.sweep import sweep
from vms.services.guests import guest_create, guest_delete, guest_power, guest_restore, guests_mark_unknown
from vms.services.guests.power import ACTIONS
from vms.services.volumes import volume_attach, volume_create, volume_delete, volume_edit, volume_extend
from vms.specs import GuestSpec, VolumeSpec
from vms.states import ON, Power
from vms.tasks import empty_bins

PICK = st.integers(min_value=0, max_value=10**6)
VERBS = (
    "upload_volume",
    "create_overlay",
    "ensure_network",
    "define",
    "start",
    "pull_plug",
    "undefine",
    "delete_volume",
    "create_empty",
    "attach_disk",
    "resize_volume",
)
LIMITED = ("guests", "running_guests", "vcpus", "disk_gib", "ports", "guest_vcpus", "guest_creates_per_day")
HELD = ("guests", "running_guests", "vcpus", "disk_gib", "volumes", "ports")


class Histories(RuleBasedStateMachine):
    """A reseller and its customer on one host; what people, workers, hosts and operators do, in any order."""

    bench: ClassVar[Bench]

    @initialize()
    def begin(self) -> None:
        self.undone = transaction.atomic()
        self.undone.__enter__()
        host = self.bench.on_host
        host.deaf = False
        for kept in (host.domains, host.pools, host.networks, host.filters, host.calls, host._faults):
            kept.clear()
        self.desk = factories.desk()
        reseller = self.bench.house
        customer = tenant_create(slug="customer", name="Customer", parent=reseller.tenant, actor=self.desk)
        factories.join(customer, reseller.owner, role="owner")
        self.houses = [reseller, House(customer, reseller.owner, "")]
        self.number = 0
        self.meddled_with: set[str] = set()
        """Machines that did something by themselves since they were last looked at."""

    # --- who and what ------------------------------------------------------------------------------------------------
    def guests(self) -> list[Guest]:
        with every_tenant(why="test"):
            return list(Guest.objects.select_related("tenant", "host").order_by("pk"))

    def volumes(self) -> list[Volume]:
        with every_tenant(why="test"):
            return list(Volume.objects.select_related("tenant", "guest").order_by("pk"))

    def live(self) -> list[Operation]:
        return list(
            Operation.objects.filter(status__in=["queued", "running"]).exclude(kind="guest.batch").order_by("pk")
        )

    def counted(self) -> set[str]:
        """Machines that count as running."""
        return {str(guest.pk) for guest in self.guests() if guest.charged_running}

    @contextlib.contextmanager
    def within_limits(self) -> Iterator[None]:
        """People get no machine more into their running ones than the limits of the whole line allow."""
        before = self.counted()
        yield
        new = self.counted() - before
        more = {tenant for guest in self.guests() if str(guest.pk) in new for tenant in guest.tenant.line()}
        for row in Quota.objects.filter(tenant__in=more, resource="running_guests"):
            hard = hard_limit(row, now())
            assert hard is None or row.used <= hard

    @contextlib.contextmanager
    def nothing_more_runs(self) -> Iterator[None]:
        """Work that is done, well or badly, makes nothing count that did not: whoever asked for it has paid before."""
        before = self.counted()
        yield
        assert self.counted() - before <= self.meddled_with

    # --- people ------------------------------------------------------------------------------------------------------
    @rule(which=PICK, start=st.booleans(), count=st.integers(min_value=1, max_value=2))
    def create(self, which: int, start: bool, count: int) -> None:
        house = self.houses[which % 2]
        self.number += 1
        name = f"g{self.number}"
        spec = GuestSpec(name=name, flavor=self.bench.flavor, image=self.bench.image, start=start, count=count)
        with self.within_limits(), tenant_scope(house.tenant), contextlib.suppress(Conflict):
            guest_create(house.tenant, spec, actor=house.actor)

    @precondition(lambda self: self.guests())
    @rule(which=PICK, action=st.sampled_from([*ACTIONS, "delete", "purge", "restore"]))
    def ask(self, which: int, action: str) -> None:
        guests = self.guests()
        guest = guests[which % len(guests)]
        actor = factories.actor_in(guest.tenant, self.houses[0].owner)
        with self.within_limits(), tenant_scope(guest.tenant), contextlib.suppress(Conflict):
            if action in ("delete", "purge"):
                guest_delete(guest, actor=actor, purge=action == "purge")
            elif action == "restore":
                guest_restore(guest, actor=actor)
            else:
                guest_power(guest, action, actor=actor, grace_s=1 if action == "shutdown" else None)

    @rule(which=PICK, plugged=st.booleans())
    def make_volume(self, which: int, plugged: bool) -> None:
        house, guests = self.houses[which % 2], self.guests()
        guest = guests[which % len(guests)] if plugged and guests else None
        self.number += 1
        tenant = guest.tenant if guest is not None else house.tenant
        spec = VolumeSpec(name=f"v{self.number}", size_gib=1 + which % 2, guest=guest)
        with tenant_scope(tenant), contextlib.suppress(Conflict):
            volume_create(tenant, spec, actor=factories.actor_in(tenant, self.houses[0].owner))

    @precondition(lambda self: self.volumes())
    @rule(which=PICK, to=PICK, verb=st.sampled_from(["attach", "extend", "delete", "keep", "let fall"]))
    def ask_of_volume(self, which: int, to: int, verb: str) -> None:
        volume = self.volumes()[which % len(self.volumes())]
        guests = [guest for guest in self.guests() if guest.tenant_id == volume.tenant_id]
        actor = factories.actor_in(volume.tenant, self.houses[0].owner)
        with tenant_scope(volume.tenant), contextlib.suppress(Conflict, Invalid):
            if verb == "attach" and guests:
                volume_attach(volume, guests[to % len(guests)], actor=actor)
            elif verb == "extend":
                volume_extend(volume, actor=actor, size_gib=volume.size_gib + 1)
            elif verb == "delete":
                volume_delete(volume, actor=actor)
            elif verb in ("keep", "let fall"):
                volume_edit(volume, actor=actor, delete_with_guest=verb == "let fall")

    @precondition(lambda self: self.live())
    @rule(which=PICK)
    def call_off(self, which: int) -> None:
        live = self.live()
        operation = live[which % len(live)]
        assert operation.tenant is not None
        actor = factories.actor_in(operation.tenant, self.houses[0].owner)
        with self.nothing_more_runs(), tenant_scope(operation.tenant), contextlib.suppress(Conflict):
            operation_cancel(operation, actor=actor)

    # --- workers and hosts -------------------------------------------------------------------------------------------
    @precondition(lambda self: self.live())
    @rule(which=PICK)
    def work(self, which: int) -> None:
        live = self.live()
        with self.nothing_more_runs():
            run(live[which % len(live)].pk)

    @precondition(lambda self: self.live())
    @rule(which=PICK, at=st.integers(min_value=0, max_value=25))
    def work_and_die(self, which: int, at: int) -> None:
        operation = self.live()[which % len(self.live())]
        left = at

        def die(_point: str) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed

        with self.nothing_more_runs(), at_points(die), contextlib.suppress(Killed):
            run(operation.pk)
        lapse(operation)

    @rule(verb=st.sampled_from(VERBS), error=st.sampled_from([Refused, Unreachable]), after=st.booleans())
    def expect_trouble(self, verb: str, error: type[Refused | Unreachable], after: bool) -> None:
        self.bench.on_host.fail(verb, error("no"), after=after)

    @rule(deaf=st.booleans())
    def listen_to_the_power_button(self, deaf: bool) -> None:
        self.bench.on_host.deaf = deaf

    @precondition(lambda self: self.bench.on_host.domains)
    @rule(which=PICK, power=st.sampled_from([Power.RUNNING, Power.STOPPED, Power.PAUSED, Power.CRASHED]))
    def happen(self, which: int, power: Power) -> None:
        """From inside the machine, or by an operator's hand on the host; what is being worked on is not looked at."""
        names = sorted(self.bench.on_host.domains)
        self.bench.on_host.happen(names[which % len(names)], power)
        self.meddled_with.add(names[which % len(names)])
        self.look()

    @rule()
    def fall_silent(self) -> None:
        guests_mark_unknown(self.bench.host)

    @rule()
    def look(self) -> None:
        with every_tenant(why="test"):
            sweep(self.bench.host)

    @rule()
    def catch_up(self) -> None:
        self.bench.settle()

    # --- operators ---------------------------------------------------------------------------------------------------
    @rule(which=PICK, name=st.sampled_from(LIMITED), limit=st.sampled_from([None, 0, 1, 2, 3]))
    def limit(self, which: int, name: str, limit: int | None) -> None:
        tenant = self.houses[which % 2].tenant
        with tenant_scope(tenant):
            quota_set(tenant, {name: limit}, actor=self.desk)

    @rule(which=PICK, name=st.sampled_from(HELD), soft=st.sampled_from([None, 0, 1]), old=st.booleans())
    def warn(self, which: int, name: str, soft: int | None, old: bool) -> None:
        tenant = self.houses[which % 2].tenant
        with tenant_scope(tenant), contextlib.suppress(Invalid):
            quota_set(tenant, {}, soft={name: soft}, actor=self.desk)
        if old:
            Quota.objects.filter(soft_since__isnull=False).update(soft_since=now() - timedelta(days=30))

    @rule(which=PICK, name=st.sampled_from(HELD), more=st.integers(min_value=1, max_value=3))
    def grant(self, which: int, name: str, more: int) -> None:
        house = self.houses[which % 2]
        wanted = {name: (Quota.objects.get(tenant=house.tenant, resource=name).limit or 0) + more}
        with contextlib.suppress(Invalid):
            with tenant_scope(house.tenant):
                request = quota_request_make(house.tenant, wanted, reason="More.", actor=house.actor)
            quota_request_approve(request, until=now() + timedelta(hours=1), actor=self.desk)

    @rule()
    def grants_end(self) -> None:
        Quota.objects.filter(grant_until__isnull=False).update(grant_until=now())

    # --- what must hold ----------------------------------------------------------------------------------------------
    @invariant()
    def counters_say_what_is_so(self) -> None:
        assert wrong(quota_verify()) == []

    @invariant()
    def whatever_is_on_counts_as_running_and_what_is_off_does_not(self) -> None:
        for guest in self.guests():
            on = guest.want_power in ON or guest.seen_power in ON
            if guest.binned_at is not None:
                assert not guest.charged_running
            elif on or guest.seen_power != Power.UNKNOWN:
                assert guest.charged_running == on, (guest.name, guest.want_power, guest.seen_power)

    def teardown(self) -> None:
        if not hasattr(self, "undone"):
            return
        try:
            self.bench.on_host._faults.clear()
            self.bench.on_host.deaf = False
            self.bench.settle(rounds=40)
            self.clear_away()
            self.look()
            assert self.bench.findings() == []
            self.everything_goes()
        finally:
            transaction.set_rollback(True)
            self.undone.__exit__(None, None, None)

    def clear_away(self) -> None:
        """Beat's task an hour later: what hosts refused to remove of failed creations."""
        Operation.objects.filter(kind="guest.purge", finished_at__isnull=False).update(
            finished_at=now() - timedelta(hours=2)
        )
        empty_bins()
        self.bench.settle(rounds=40)

    def everything_goes(self) -> None:
        """Purged, nothing is counted any more but each tenant's network."""
        for guest in self.guests():
            with tenant_scope(guest.tenant):
                guest_delete(guest, actor=factories.actor_in(guest.tenant, self.houses[0].owner), purge=True)
        self.bench.settle(rounds=40)
        for volume in self.volumes():
            with tenant_scope(volume.tenant):
                volume_delete(volume, actor=factories.actor_in(volume.tenant, self.houses[0].owner))
        self.bench.settle(rounds=40)
        assert self.guests() == []
        assert self.bench.findings() == []
        left = Quota.objects.filter(used__gt=0, tenant__in=[house.tenant for house in self.houses])
        assert set(left.values_list("resource", flat=True)) <= {"networks"}


def wrong(found: list[Miscount]) -> list[tuple[str, str, int, int]]:
    return [(miss.tenant.slug, miss.resource, miss.counted, miss.real) for miss in found]


@pytest.mark.parametrize(
    ("examples", "steps"), [(4, 20), pytest.param(400, 60, marks=pytest.mark.long)], ids=["a sample", "whole"]
)
def test_after_any_history_the_counters_are_what_is_so(bench: Bench, examples: int, steps: int) -> None:
    machine: Any = type("Here", (Histories,), {"bench": bench})

    run_state_machine_as_test(  # type: ignore[no-untyped-call]
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
            phases=[Phase.generate],  # a history is told step by step when it fails; making it short takes hours
        ),
    )
