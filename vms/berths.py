"""Where a disk lies: its pool, what it is called there, how a machine's definition names it. Reads rows; touches nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from vms.hypervisor.driver import Roots
from vms.hypervisor.xml.devices import Ceph
from vms.hypervisor.xml.pool import CephUser, PoolSpec
from vms.models import Host, StoragePool, Volume
from vms.models.volumes import PoolKind
from vms.names import Owner, pool_name, raw_name, volume_name
from vms.pool_kinds import ABILITIES, Ability, home_path, is_home


@dataclass(frozen=True, slots=True)
class Berth:
    """A volume's place on a host: libvirt's pool, its name there, and how a machine's definition names it."""

    pool: str
    name: str
    path: str
    ability: Ability
    ceph: Ceph | None = None


def berth(volume: Volume, host: Host, owner: Owner) -> Berth:
    """Where the volume lies; reads its pool's row."""
    pool = volume.pool
    if pool is None or is_home(pool, host):
        name = volume_name(volume.pk)
        return Berth(pool_name(owner), name, f"{home_path(host)}/{name}", ABILITIES[PoolKind.DIR])
    ability = ABILITIES[pool.kind]
    name = volume_name(volume.pk) if ability.format == "qcow2" else raw_name(volume.pk)
    folder = pool.source if pool.kind == PoolKind.RBD else pool.path
    return Berth(pool.name, name, f"{folder}/{name}", ability, _ceph(pool))


def pool_spec(pool: StoragePool) -> PoolSpec:
    """The pool as its host's libvirt is told of it."""
    user = CephUser(name=pool.account, secret=pool.secret) if pool.account else None
    return PoolSpec(
        name=pool.name,
        path="" if pool.kind == PoolKind.RBD else pool.path,
        type=ABILITIES[pool.kind].type,
        servers=tuple(pool.servers),
        source=pool.source,
        ceph=user if pool.kind == PoolKind.RBD else None,
    )


def roots_of(host: Host, pools: Iterable[StoragePool]) -> Roots:
    """The only places a guest's definition may name."""
    home, rows = home_path(host), list(pools)
    folders = {pool.path for pool in rows if ABILITIES[pool.kind].lies == "file"}
    return Roots(
        storage=(home, *sorted(folders - {home})),
        run=(host.run_dir,),
        log=(home,),
        block=tuple(sorted(pool.path for pool in rows if pool.kind == PoolKind.LVM)),
        ceph=tuple(sorted(pool.source for pool in rows if pool.kind == PoolKind.RBD)),
    )


def _ceph(pool: StoragePool) -> Ceph | None:
    if pool.kind != PoolKind.RBD:
        return None
    user = CephUser(name=pool.account, secret=pool.secret) if pool.account else None
    return Ceph(monitors=tuple(pool.servers), user=user)
