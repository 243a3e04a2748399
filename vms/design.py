"""Policy: what machine a guest becomes on a host. Reads rows, returns the hypervisor's specs; touches nothing."""

from __future__ import annotations

import ipaddress
import secrets
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

from portal.core.units import MIB
from vms.berths import berth, roots_of
from vms.guards import card_wanted
from vms.hypervisor.driver import Roots
from vms.hypervisor.engines import Net, NetworkEngine
from vms.hypervisor.xml.devices import Bandwidth, Disk, IoTune, Layer, Nic, Serial, Tpm, Vnc
from vms.hypervisor.xml.domain import Cpu, CpuTune, DomainSpec
from vms.hypervisor.xml.firmware import BIOS, Firmware, Hyperv
from vms.hypervisor.xml.metadata import Tag
from vms.hypervisor.xml.network import DhcpHost, DnsName, NetworkSpec
from vms.models import Disc, Guest, Host, ImageTest, Network, Port, Spare, Subnet, Volume
from vms.models.discs import DRIVES, DiscBoot
from vms.models.hardware import DiskBus, Hardware, NicModel
from vms.models.networks import MTU
from vms.names import (
    Owner,
    base_name,
    bridge_name,
    domain_name,
    image_test_name,
    image_test_subject,
    network_name,
    nvram_name,
    seed_name,
    serial_log,
    serial_socket,
    vnc_socket,
    volume_name,
)
from vms.pool_kinds import home_path
from vms.selectors.fabrics import own_addresses
from vms.selectors.ports import port_speed
from vms.services.addresses import address_plan

PERIOD_US = 100_000
TB_CACHE_MIB = (32, 256)
"""QEMU's translation cache without KVM; its default is a gigabyte a guest."""
LETTERS = string.ascii_letters + string.digits
SEED_TARGET = "vdz"
DRIVE_TARGETS = ("sdc", "sdd")
"""The CD drives that every machine has, empty or not."""
DRIVERS_CD, SEED_CD = "sde", "sdf"
"""Where Windows finds its CDs: the last two places of the board's six; the first are disks'."""
PCI_SPARES = 8
"""Disks and cards that can be plugged in between two starts."""


@dataclass(frozen=True, slots=True)
class Room:
    """The largest size that is offered: a machine is defined so that it can grow to it while it runs."""

    vcpus: int
    memory_mib: int


NO_ROOM = Room(0, 0)


def display_password() -> str:
    """Eight characters, which is all that VNC looks at; never the only guard, new for every start."""
    return "".join(secrets.choice(LETTERS) for _ in range(8))


def roots(host: Host) -> Roots:
    """The only places a guest's definition may name."""
    return roots_of(host, host.storage_pools.all())


def domain_spec(
    guest: Guest,
    host: Host,
    owner: Owner,
    *,
    volumes: Sequence[Volume],
    nics: Sequence[Nic],
    password: str,
    discs: Sequence[Disc] = (),
    room: Room = NO_ROOM,
    rescue: Spare | None = None,
) -> DomainSpec:
    """The whole machine, with ``room`` to grow in while it runs; with ``rescue`` it starts from that, its own disks after it.

    A limit that the host is known not to enforce is left out; the host's page names it.
    """
    limits = set(host.unenforced)
    pool = f"{host.data_dir}/pool"
    return DomainSpec(
        uuid=str(guest.pk),
        name=domain_name(owner, guest.pk),
        tag=tag(owner, str(guest.pk), str(guest.tenant_id), guest.want_generation),
        vcpus=guest.vcpus,
        memory_mib=guest.memory_mib,
        vcpus_max=min(room.vcpus, host.cpus),
        memory_mib_max=min(room.memory_mib, host.memory_mib),
        kind="kvm" if host.accelerated else "qemu",
        machine="q35",
        firmware=firmware(guest, pool),
        hyperv=Hyperv() if guest.is_windows else None,
        local_time=guest.is_windows,
        tpm=_tpm(guest),
        cpu=_cpu(host),
        cputune=_cputune(guest) if "cputune" not in limits else None,
        tb_cache_mib=_tb_cache_mib(guest.memory_mib),
        disks=(*_bootable(guest, host, volumes, discs, rescue, owner), *_discs(guest, pool)),
        nics=tuple(nics),
        vnc=Vnc(socket=vnc_socket(host.run_dir, guest.pk), password=password),
        serial=Serial(socket=serial_socket(host.run_dir, guest.pk), log=f"{pool}/{serial_log(guest.pk)}"),
        spare_ports=PCI_SPARES,
    )


def image_test_spec(test: ImageTest, host: Host, owner: Owner) -> DomainSpec:
    """The machine that an image is tried by: built as the image says, without a network."""
    image, pool = test.image, home_path(host)
    target = first_target(image.disk_bus)
    base = Layer(path=f"{pool}/{base_name(image.pk, image.sha256)}", format="qcow2")
    root = Disk(
        path=f"{pool}/{volume_name(test.pk)}", target=target, bus=_bus(image.disk_bus), boot_order=1, backing=(base,)
    )
    seed = Disk(path=f"{pool}/{seed_name(test.pk)}", target=SEED_TARGET, format="raw", readonly=True, discard=False)
    if image.is_windows:
        seed = replace(seed, target=SEED_CD, bus="sata", device="cdrom", backing=())
    return DomainSpec(
        uuid=str(test.pk),
        name=image_test_name(owner, test.pk),
        tag=tag(owner, image_test_subject(test.pk), str(image.tenant_id or "")),
        vcpus=test.vcpus,
        memory_mib=test.memory_mib,
        kind="kvm" if host.accelerated else "qemu",
        firmware=_firmware(image, test.pk, pool),
        hyperv=Hyperv() if image.is_windows else None,
        local_time=image.is_windows,
        tpm=_tpm(image),
        cpu=_cpu(host),
        tb_cache_mib=_tb_cache_mib(test.memory_mib),
        disks=(root, seed),
        serial=Serial(socket=serial_socket(host.run_dir, test.pk), log=f"{pool}/{serial_log(test.pk)}"),
    )


def _cpu(host: Host) -> Cpu:
    return Cpu(mode="host-model") if host.accelerated else Cpu(mode="custom", model="qemu64")


def _tb_cache_mib(memory_mib: int) -> int:
    return min(TB_CACHE_MIB[1], max(TB_CACHE_MIB[0], memory_mib // 4))


def tag(owner: Owner, subject: str, tenant: str, generation: int = 0) -> Tag:
    """The metadata that says whose a thing is."""
    return Tag(owner=owner, subject=subject, tenant=tenant, generation=generation)


def _cputune(guest: Guest) -> CpuTune:
    percent = guest.flavor.cpu_percent
    return CpuTune(
        shares=min(262144, 1024 * guest.vcpus),
        period_us=PERIOD_US if percent else None,
        quota_us=PERIOD_US * percent // 100 if percent else None,
    )


def disks_of(
    guest: Guest, host: Host, volumes: Sequence[Volume], rescue: Spare | None, owner: Owner
) -> tuple[Disk, ...]:
    """What it has but for the seed; where one to rescue from comes first, each of its own stands one place later.

    The very last place is the seed's: a disk that would come to stand there is not to be seen in the rescue.
    """
    own = tuple(disk(volume, guest, host, owner) for volume in volumes)
    if rescue is None or rescue.image is None:
        return own
    pool = f"{host.data_dir}/pool"
    first = Disk(
        path=f"{pool}/{volume_name(rescue.pk)}",
        target=first_target(rescue.image.disk_bus),
        bus=_bus(rescue.image.disk_bus),
        boot_order=1,
        serial=rescue.pk.hex[:20],
        backing=(Layer(path=f"{pool}/{base_name(rescue.image.pk, rescue.image.sha256)}", format="qcow2"),),
    )
    later = (replace(one, target=_next_target(one.target), boot_order=None) for one in own)
    return (first, *(one for one in later if one.target != SEED_TARGET))


def _bootable(
    guest: Guest, host: Host, volumes: Sequence[Volume], discs: Sequence[Disc], rescue: Spare | None, owner: Owner
) -> tuple[Disk, ...]:
    """Its disks and its CD drives, in one order of booting: CDs that come first, then disks, then the other CDs.

    A rescue is started from its own disk, whatever lies in the drives.
    """
    disks = disks_of(guest, host, volumes, rescue, owner)
    if rescue is not None:
        return (*disks, *drives_of(guest, host, discs))
    orders = {disc.pk: number for number, disc in enumerate((d for d in discs if d.boot != DiscBoot.AFTER), start=1)}
    before = len(orders)
    disks = tuple(replace(one, boot_order=one.boot_order and one.boot_order + before) for one in disks)
    last = max((one.boot_order or 0 for one in disks), default=0) or before
    rest = (disc for disc in discs if disc.boot == DiscBoot.AFTER)
    orders |= {disc.pk: number for number, disc in enumerate(rest, start=last + 1)}
    return (*disks, *drives_of(guest, host, discs, orders))


def drives_of(
    guest: Guest, host: Host, discs: Sequence[Disc], orders: Mapping[UUID, int] | None = None
) -> tuple[Disk, ...]:
    """Every CD drive, with what lies in it; ``orders`` are places in the order of booting, by CD."""
    held = {disc.drive: disc for disc in discs}
    return tuple(
        replace(disc_in(held[drive], guest, host), boot_order=(orders or {}).get(held[drive].pk))
        if drive in held
        else _drive(guest, drive)
        for drive in range(1, DRIVES + 1)
    )


def disc_in(disc: Disc, guest: Guest, host: Host) -> Disk:
    """A CD as its drive holds it: the image's own copy on the host."""
    path = f"{host.data_dir}/pool/{base_name(disc.image.pk, disc.image.sha256)}"
    return replace(_drive(guest, disc.drive), path=path, format="qcow2", backing=())


def _drive(guest: Guest, drive: int) -> Disk:
    """An empty drive, on a bus that the guest's system knows: kernels of cloud images have virtio's alone, Windows has not."""
    bus: Literal["sata", "scsi"] = "sata" if guest.is_windows or guest.disk_bus == DiskBus.SATA else "scsi"
    return Disk(path="", target=drive_target(drive), bus=bus, device="cdrom", format="raw", readonly=True)


def drive_target(drive: int) -> str:
    """Which device a CD drive is; they are counted from 1."""
    return DRIVE_TARGETS[drive - 1]


def _bus(bus: str) -> Literal["virtio", "scsi", "sata"]:
    found: dict[str, Literal["virtio", "scsi", "sata"]] = {"virtio": "virtio", "scsi": "scsi", "sata": "sata"}
    return found[bus]


def _next_target(target: str) -> str:
    return target[:-1] + chr(ord(target[-1]) + 1)


def disk(volume: Volume, guest: Guest, host: Host, owner: Owner) -> Disk:
    """A volume as its machine has it: its place is its device, its serial the first 20 digits of its id."""
    image = volume.image
    base = None if image is None else f"{host.data_dir}/pool/{base_name(image.pk, image.sha256)}"
    bus = guest.disk_bus if volume.position == 0 else DiskBus.VIRTIO
    there = berth(volume, host, owner)
    return Disk(
        path=there.path,
        lies=there.ability.lies,
        format=there.ability.format,
        ceph=there.ceph,
        target=first_target(bus) if volume.position == 0 else volume.device,
        bus=_bus(bus),
        boot_order=volume.boot_order or None,
        serial=volume.serial,
        iotune=disk_tune(volume, guest, host),
        backing=() if base is None or not there.ability.thin else (Layer(path=base, format="qcow2"),),
    )


def disk_tune(volume: Volume, guest: Guest, host: Host) -> IoTune | None:
    """The tightest of a volume's own limits, its class's and its machine's size's; None where there is none, or no use in one."""
    iops = _tightest(volume.iops, volume.storage_class.iops, guest.flavor.disk_iops)
    mbps = _tightest(volume.mbps, volume.storage_class.mbps, guest.flavor.disk_mbps)
    if "iotune" in host.unenforced or not (iops or mbps):
        return None
    return IoTune(bytes_per_s=mbps * MIB if mbps else None, iops=iops)


def _tightest(*limits: int) -> int | None:
    return min(filter(None, limits), default=None)


def _discs(guest: Guest, pool: str) -> tuple[Disk, ...]:
    """The seed: a disk, since a cloud kernel knows no CD drive, and for Windows a CD, after the one with drivers."""
    seed = Disk(path=f"{pool}/{seed_name(guest.pk)}", target=SEED_TARGET, format="raw", readonly=True, discard=False)
    if not guest.is_windows:
        return (seed,)
    seed = replace(seed, target=SEED_CD, bus="sata", device="cdrom", backing=())
    image = guest.drivers
    if image is None:
        return (seed,)
    path = f"{pool}/{base_name(image.pk, image.sha256)}"
    drivers = Disk(path=path, target=DRIVERS_CD, bus="sata", device="cdrom", readonly=True, backing=())
    return (drivers, seed)


def firmware(guest: Guest, pool: str) -> Firmware:
    """BIOS, or UEFI whose variables lie beside the machine's disks and stay as long as they do."""
    return _firmware(guest, guest.pk, pool)


def _firmware(built: Hardware, pk: UUID, pool: str) -> Firmware:
    if built.firmware != "uefi":
        return BIOS
    return Firmware(kind="uefi", secure_boot=built.secure_boot, nvram=f"{pool}/{nvram_name(pk)}")


def _tpm(built: Hardware) -> Tpm | None:
    if not built.tpm:
        return None
    return Tpm(model="tpm-crb" if built.firmware == "uefi" else "tpm-tis")


def first_target(bus: str) -> str:
    """Which device the first disk is."""
    return "vda" if bus == DiskBus.VIRTIO else "sda"


def nic(port: Port, guest: Guest, host: Host, owner: Owner, net: NetworkEngine) -> Nic:
    """A port as its machine has it, so that it speaks as its address alone; its rows are read as by ``card_wanted``."""
    return net.plug(
        card_wanted(port, owner),
        model="e1000e" if guest.nic_model == NicModel.E1000E else "virtio",
        bandwidth=card_limit(port, guest, host),
    )


def card_limit(port: Port, guest: Guest, host: Host) -> Bandwidth | None:
    """How fast a card may be; None where it has no limit, or the host is known not to enforce one."""
    inbound, outbound = (mbit * 1000 or None for mbit in port_speed(port, guest.flavor))
    if "bandwidth" in host.unenforced or not (inbound or outbound):
        return None
    return Bandwidth(inbound_kbit=inbound, outbound_kbit=outbound)


def network_wanted(
    network: Network, subnet: Subnet, owner: Owner, host: Host, *, names: Sequence[tuple[str, str]] = ()
) -> Net:
    """The network as a host's engine has it: its bridge, its gateway, and DHCP that knows every address from the start.

    ``names are (address, machine's name) of those that are on it there.
    """
    cidr = ipaddress.IPv4Network(subnet.cidr)
    spec = NetworkSpec(
        name=network_name(owner, network.pk),
        tag=tag(owner, str(network.pk), str(network.tenant_id)),
        bridge=bridge_name(owner, network.pk),
        gateway=subnet.gateway,
        prefix=cidr.prefixlen,
        mode="nat" if network.outward == "nat" else "isolated",
        hosts=tuple(DhcpHost(mac=mac, ip=ip) for mac, ip in address_plan(subnet)),
        names=tuple(DnsName(ip=ip, name=name) for ip, name in names),
        domain=network.domain,
        mtu=network.mtu if network.mtu != MTU else None,
        dns=tuple(subnet.dns),
        routes=tuple((route["to"], route["via"]) for route in subnet.routes),
    )
    return Net(spec=spec, forbidden=own_addresses(host))
