"""What both drivers promise of pools, volumes and networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tests.vms.hypervisor.conftest import OWNER, STRANGER, World
from vms.cloudinit import Seed
from vms.disks.seed import seed_iso
from vms.hypervisor.errors import Busy, Missing, Refused
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.libvirt_driver import storage
from vms.hypervisor.xml.domain import Disk, FilterRef, Nic, Tag
from vms.hypervisor.xml.network import DhcpHost
from vms.states import Power

FIRST = DhcpHost(mac="52:54:00:00:00:01", ip="10.93.0.2", name="one")
SECOND = DhcpHost(mac="52:54:00:00:00:02", ip="10.93.0.3", name="two")


# --- storage --------------------------------------------------------------------------------------------------------


@pytest.fixture
def pool(world: World) -> str:
    return world.hypervisor.ensure_pool(world.pool, str(world.pool_path)).name


def test_a_pool_is_made_once(world: World, pool: str):
    again = world.hypervisor.ensure_pool(pool, str(world.pool_path))

    assert again.path == str(world.pool_path)
    assert again.capacity >= again.available > 0
    assert world.hypervisor.pool(pool) is not None
    assert world.hypervisor.volumes(pool) == ()


def test_a_pool_elsewhere_is_refused(world: World, pool: str):
    with pytest.raises(Refused):
        world.hypervisor.ensure_pool(pool, str(world.pool_path.parent / "elsewhere"))


def test_forgetting_a_pool_keeps_its_volumes(world: World, pool: str):
    world.hypervisor.remove_pool("no-such-pool")
    assert world.hypervisor.pool("no-such-pool") is None
    with pytest.raises(Missing):
        world.hypervisor.volumes("no-such-pool")
    assert world.hypervisor.pool(pool) is not None


def test_an_upload_holds_the_files_bytes(world: World, pool: str, tmp_path: Path):
    source = tmp_path / "seed.iso"
    source.write_bytes(b"cidata" * 100_000)
    sent: list[int] = []

    first = world.hypervisor.upload_volume(pool, "seed", source, disk_format="raw", progress=sent.append)
    again = world.hypervisor.upload_volume(pool, "seed", source, disk_format="raw")

    assert first == again
    assert (first.format, first.capacity) == ("raw", 600_000)
    assert sent[-1] == 600_000
    assert world.hypervisor.volume(pool, "seed") == first


def test_a_seed_is_raw(world: World, pool: str, tmp_path: Path):
    source = tmp_path / "seed.iso"
    source.write_bytes(seed_iso(Seed(instance_id="i-1", hostname="web-1")))

    assert world.hypervisor.upload_volume(pool, "seed.iso", source, disk_format="raw").format == "raw"


def test_a_half_made_upload_is_replaced(world: World, pool: str, tmp_path: Path):
    half, whole = tmp_path / "half", tmp_path / "whole"
    half.write_bytes(b"a" * 1000)
    whole.write_bytes(b"a" * 1000 + b"b" * 1000)
    world.hypervisor.upload_volume(pool, "image", half, disk_format="raw")

    seen = world.hypervisor.upload_volume(pool, "image", whole, disk_format="raw")

    assert seen.capacity == 2000


def test_an_upload_that_is_cut_off_takes_away_nothing_that_another_has_sent_meanwhile(
    world: World, pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(storage, "_REFRESH_WAIT_S", 0.1)  # the first one's stream is open
    late, source = tmp_path / "late", tmp_path / "source"
    late.write_bytes(b"l" * 4096)
    source.write_bytes(b"s" * 4096)

    def thaw(_sent: int) -> None:
        world.hypervisor.upload_volume(pool, "disk", source, disk_format="raw")
        raise TimeoutError

    with pytest.raises(TimeoutError):
        world.hypervisor.upload_volume(pool, "disk", late, disk_format="raw", progress=thaw)

    seen = world.hypervisor.volume(pool, "disk")
    assert seen is not None
    if world.pool_path.exists():
        assert Path(seen.path).read_bytes() == source.read_bytes()


def test_an_upload_that_is_not_what_it_claims_is_refused(world: World, pool: str, tmp_path: Path):
    source = tmp_path / "image"
    source.write_bytes(b"no image" * 1000)

    with pytest.raises(Refused):
        world.hypervisor.upload_volume(pool, "image", source, disk_format="qcow2")

    assert world.hypervisor.volume(pool, "image") is None


def test_an_overlay_lies_on_its_base(world: World, pool: str):
    base = world.hypervisor.create_empty(pool, "base", capacity=1 << 20)

    overlay = world.hypervisor.create_overlay(pool, "root", base="base", capacity=1 << 21)
    again = world.hypervisor.create_overlay(pool, "root", base="base", capacity=1 << 21)

    assert (overlay.format, overlay.capacity, overlay.backing_path) == ("qcow2", 1 << 21, base.path)
    assert (again.name, again.backing_path) == (overlay.name, overlay.backing_path)
    assert {volume.name for volume in world.hypervisor.volumes(pool)} == {"base", "root"}


def test_an_overlay_is_not_laid_over_something_else(world: World, pool: str):
    world.hypervisor.create_empty(pool, "base", capacity=1 << 20)
    world.hypervisor.create_empty(pool, "other", capacity=1 << 20)
    world.hypervisor.create_overlay(pool, "root", base="base", capacity=1 << 20)

    with pytest.raises(Refused):
        world.hypervisor.create_overlay(pool, "root", base="other", capacity=1 << 20)
    with pytest.raises(Missing):
        world.hypervisor.create_overlay(pool, "root2", base="nothing", capacity=1 << 20)


def test_deleting_a_volume_twice_is_fine(world: World, pool: str):
    world.hypervisor.create_empty(pool, "data", capacity=1 << 20, disk_format="raw")

    world.hypervisor.delete_volume(pool, "data")
    world.hypervisor.delete_volume(pool, "data")
    world.hypervisor.delete_volume("no-such-pool", "data")

    assert world.hypervisor.volume(pool, "data") is None


# --- networks -------------------------------------------------------------------------------------------------------


def test_a_network_is_made_once_and_marked_as_ours(world: World):
    seen = world.hypervisor.ensure_network(world.network(hosts=(FIRST,)))
    again = world.hypervisor.ensure_network(world.network(hosts=(FIRST,)))

    assert seen == again
    assert (seen.name, seen.bridge, seen.active) == ("gh-contract-n", "ghcontract0", True)
    assert (seen.owner, seen.network) == (OWNER, "net-1")
    assert world.hypervisor.leases(seen.name) == ()


def test_a_networks_addresses_change_while_it_runs(world: World):
    world.hypervisor.ensure_network(world.network(hosts=(FIRST,)))
    moved = replace(FIRST, ip="10.93.0.9")

    world.hypervisor.ensure_network(world.network(hosts=(moved, SECOND)))
    world.hypervisor.ensure_network(world.network(hosts=(SECOND,)))
    seen = world.hypervisor.ensure_network(world.network(hosts=(replace(SECOND, mac=FIRST.mac),)))

    assert seen.active


def test_a_network_that_nobody_uses_takes_a_new_shape(world: World):
    world.hypervisor.ensure_network(world.network())

    seen = world.hypervisor.ensure_network(world.network(bridge="ghcontract1", gateway="10.94.0.1"))

    assert (seen.bridge, seen.active) == ("ghcontract1", True)


def test_a_foreign_network_is_never_touched(world: World):
    world.backstage.plant_network("gh-contract-n")

    with pytest.raises(Refused):
        world.hypervisor.ensure_network(world.network())
    with pytest.raises(Refused):
        world.hypervisor.remove_network("gh-contract-n", owner=OWNER)

    assert [seen.owner for seen in world.hypervisor.networks() if seen.name == "gh-contract-n"] == [None]


def test_removing_a_network_twice_is_fine(world: World):
    world.hypervisor.ensure_network(world.network())
    assert "gh-contract-n" in world.hypervisor.networks_running()

    with pytest.raises(Refused):
        world.hypervisor.remove_network("gh-contract-n", owner=STRANGER)
    world.hypervisor.remove_network("gh-contract-n", owner=OWNER)
    world.hypervisor.remove_network("gh-contract-n", owner=OWNER)

    assert "gh-contract-n" not in [seen.name for seen in world.hypervisor.networks()]
    assert "gh-contract-n" not in world.hypervisor.networks_running()
    with pytest.raises(Missing):
        world.hypervisor.leases("gh-contract-n")


def test_a_filter_is_made_changed_and_removed(world: World):
    spec = guest_filter(name="gh-contract-f", subnet="10.93.0.0/24", gateway="10.93.0.1")

    world.hypervisor.ensure_filter(spec)
    world.hypervisor.ensure_filter(spec)
    world.hypervisor.ensure_filter(replace(spec, rules=spec.rules[:-1]))

    assert "gh-contract-f" in world.hypervisor.filters()
    world.hypervisor.remove_filter("gh-contract-f")
    world.hypervisor.remove_filter("gh-contract-f")
    assert "gh-contract-f" not in world.hypervisor.filters()


def test_a_guest_plugged_in_keeps_its_network_and_filter(world: World):
    world.hypervisor.ensure_network(world.network(hosts=(FIRST,)))
    spec = world.defined(nics=(Nic(mac=FIRST.mac, network="gh-contract-n"),))
    world.hypervisor.start(spec.uuid)

    with pytest.raises(Busy):
        world.hypervisor.ensure_network(world.network(bridge="ghcontract1"))

    world.hypervisor.ensure_network(world.network(hosts=(FIRST, SECOND)))


def test_a_tag_survives_whatever_a_subject_may_hold(world: World):
    spec = world.defined(tag=Tag(owner=OWNER, subject="0198a3c2-7d11-7cc0-b0e1-3b1f2a4c5d6e", tenant="a.b_c-d"))

    seen = world.hypervisor.domain(spec.uuid)

    assert seen is not None
    assert (seen.guest, seen.tenant) == (spec.tag.subject, "a.b_c-d")


def test_a_machine_that_lacks_something_does_not_start(world: World, pool: str):
    volume = world.hypervisor.create_empty(pool, "root", capacity=1 << 20)
    lacking = {
        "disk": world.defined("gh-contract-d", disks=(Disk(path=volume.path + "x", target="vda"),)),
        "network": world.defined("gh-contract-w", nics=(Nic(mac=FIRST.mac, network="nowhere"),)),
    }
    world.hypervisor.ensure_network(world.network(hosts=(FIRST,)))
    unfiltered = Nic(mac=FIRST.mac, network="gh-contract-n", filter=FilterRef(name="nothing", ip=FIRST.ip))
    lacking["filter"] = world.defined("gh-contract-x", nics=(unfiltered,))

    refusals = {}
    for what, spec in lacking.items():
        with pytest.raises((Refused, Missing)) as refusal:
            world.hypervisor.start(spec.uuid)
        refusals[what] = refusal.type

    assert refusals == {"disk": Refused, "network": Missing, "filter": Refused}
    assert {seen.power for seen in world.hypervisor.domains()} == {Power.STOPPED}
