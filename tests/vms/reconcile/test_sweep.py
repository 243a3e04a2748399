"""P-J4: the sweep compares and shows; it deletes nothing, and believes no empty answer."""

from __future__ import annotations

import pytest

from operations.runner import run
from tenants.scoping import every_tenant
from tests.vms.reconcile.bench import Bench
from vms.hypervisor.errors import Unreachable
from vms.hypervisor.fake import FakePool
from vms.models import Drift, Guest, Installation, StoragePool, Volume
from vms.names import Owner, network_name, pool_name, volume_name
from vms.reconcile.sweep import sweep
from vms.selectors.installation import installation_owner
from vms.states import Power

WRITES = {
    "define", "undefine", "start", "press_power", "pull_plug", "reset", "pause", "resume", "save", "discard_save",
    "delete_volume", "remove_network", "remove_filter", "remove_pool", "ensure_pool", "ensure_network", "ensure_filter",
    "create_overlay", "create_empty", "upload_volume",
}  # fmt: skip


def look(bench: Bench) -> dict[str, str]:
    """One sweep; the drift it shows, detail by kind. It has changed nothing on the host."""
    before = {verb: bench.on_host.calls[verb] for verb in WRITES}
    with every_tenant(why="test"):
        sweep(bench.host)
    assert {verb: bench.on_host.calls[verb] for verb in WRITES} == before
    return dict(Drift.objects.values_list("kind", "detail"))


def test_where_all_is_as_it_should_be_nothing_is_shown(bench: Bench) -> None:
    bench.guest()
    bench.binned()
    bench.guest(Power.STOPPED)

    assert look(bench) == {}
    assert bench.findings() == []


def test_a_machine_that_is_not_there_is_shown_and_never_forgotten(bench: Bench) -> None:
    guest = bench.guest()
    del bench.on_host.domains[str(guest.pk)]

    for sightings in (1, 2):
        assert set(look(bench)) == {"missing_domain"}
        assert Drift.objects.get().sightings == sightings
    assert bench.fresh(guest).seen_power == Power.ABSENT
    assert bench.fresh(guest).want_power == Power.RUNNING


def test_what_carries_our_mark_and_has_no_row_is_shown_and_never_removed(bench: Bench) -> None:
    guest = bench.guest()
    with every_tenant(why="test"):
        Volume.objects.filter(guest=guest).update(guest=None)
        Volume.objects.all().delete()
        Guest.objects.filter(pk=guest.pk).delete()

    shown = look(bench)

    assert set(shown) == {"stray_domain", "stray_volume"}
    assert str(guest.pk) in bench.on_host.domains
    assert look(bench) == shown


def test_what_is_not_ours_is_not_even_shown(bench: Bench) -> None:
    bench.guest()
    bench.on_host.plant_domain("7d1c8a3e-0000-4000-8000-000000000001", "somebody-else")
    bench.on_host.plant_network("default")
    bench.on_host.pools["default"] = FakePool("/somewhere")

    assert look(bench) == {}


def test_a_second_portals_machines_are_foreign_to_the_first(bench: Bench) -> None:
    """Two portals on one host: the same guest seen by another installation is none of its business."""
    bench.guest()
    Installation.objects.all().delete()
    Installation.objects.create(pk="22222222-2222-4222-8222-222222222222")

    with every_tenant(why="test"):
        Volume.objects.all().update(guest=None)
        Volume.objects.all().delete()
        Guest.objects.all().delete()
    StoragePool.objects.update(name=pool_name(installation_owner()))
    assert look(bench) == {}


def test_a_machine_of_another_epoch_is_shown_and_not_managed(bench: Bench) -> None:
    """D5: a restored copy of the portal must not drive the same machines."""
    guest = bench.guest()
    Installation.objects.update(epoch=2)

    shown = look(bench)

    assert "other_epoch" in shown
    assert str(guest.pk) in bench.on_host.domains
    assert installation_owner() == Owner(Installation.objects.get().pk, 2)


def test_a_lost_file_and_a_lost_network_are_shown(bench: Bench) -> None:
    guest = bench.guest()
    owner = installation_owner()
    with every_tenant(why="test"):
        volume = Volume.objects.get(guest=guest)
        network = guest.ports.get().network
    del bench.on_host.pools[pool_name(owner)].volumes[volume_name(volume.pk)]
    del bench.on_host.networks[network_name(owner, network.pk)]

    assert set(look(bench)) == {"missing_volume", "missing_network"}


def test_an_empty_pool_is_believed_only_where_there_is_a_pool(bench: Bench) -> None:
    bench.guest()
    bench.on_host.pools.clear()

    assert look(bench) == {}


def test_a_host_that_falls_silent_midway_leaves_what_was_known(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.fail("networks", Unreachable("cut off"))

    with pytest.raises(Unreachable), every_tenant(why="test"):
        sweep(bench.host)

    assert not Drift.objects.exists()
    assert bench.fresh(guest).seen_power == Power.RUNNING


def test_what_somebody_is_working_on_is_left_to_them(bench: Bench) -> None:
    """S2."""
    guest, operation = bench.ask_create()

    assert look(bench) == {}
    assert bench.fresh(guest).seen_at is None
    assert run(operation.pk) == "succeeded"
    assert look(bench) == {}


def test_drift_that_is_over_is_no_longer_shown(bench: Bench) -> None:
    guest = bench.guest()
    kept = bench.on_host.domains.pop(str(guest.pk))
    assert set(look(bench)) == {"missing_domain"}

    bench.on_host.domains[str(guest.pk)] = kept

    assert look(bench) == {}


def test_a_machine_that_crashed_is_shown_and_not_restarted(bench: Bench) -> None:
    guest = bench.guest()
    bench.on_host.happen(str(guest.pk), Power.CRASHED, "crashed")

    assert set(look(bench)) == {"other_power"}
    assert bench.fresh(guest).want_power == Power.RUNNING
