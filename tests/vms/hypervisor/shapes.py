"""The shapes of XML the portal writes, one of each kind; the golden files hold what they look like."""

from __future__ import annotations

from dataclasses import dataclass, replace

from vms.hypervisor.driver import Owner, Roots
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.xml.build import Element
from vms.hypervisor.xml.devices import Ceph
from vms.hypervisor.xml.domain import (
    Balloon,
    Bandwidth,
    Cpu,
    CpuTune,
    Disk,
    DomainSpec,
    FilterRef,
    Firmware,
    Hyperv,
    IoTune,
    Layer,
    Nic,
    Serial,
    Tablet,
    Tag,
    Tpm,
    Video,
    Vnc,
    Watchdog,
)
from vms.hypervisor.xml.network import DhcpHost, DnsName, NetworkSpec
from vms.hypervisor.xml.pool import CephUser, PoolSpec
from vms.hypervisor.xml.volume import VolumeSpec

ROOTS = Roots(storage=("/srv/gh/pool",), run=("/run/gh",), log=("/srv/gh/log",), block=("/dev/gh",), ceph=("gh",))
TAG = Tag(
    owner=Owner("0198a3c2-7d11-7cc0-b0e1-3b1f2a4c5d6e", 1),
    subject="0198a3c2-aaaa-7cc0-b0e1-000000000001",
    tenant="acme",
    generation=4,
)
BASE = Layer(path="/srv/gh/pool/base.qcow2", format="qcow2")
ROOT = Disk(path="/srv/gh/pool/root.qcow2", target="vda", boot_order=1, backing=(BASE,))
SEED = Disk(path="/srv/gh/pool/seed.iso", target="vdb", format="raw", readonly=True, backing=())

SMALL = DomainSpec(
    uuid="0198a3c2-aaaa-7cc0-b0e1-000000000001",
    name="gh-0198a3c2",
    tag=TAG,
    vcpus=1,
    memory_mib=256,
)
TENANTS = DomainSpec(
    uuid=SMALL.uuid,
    name=SMALL.name,
    tag=TAG,
    title="web-1 <&> of \u00fcber",
    vcpus=2,
    memory_mib=2048,
    kind="kvm",
    cpu=Cpu(mode="host-model"),
    cputune=CpuTune(shares=1024, period_us=100_000, quota_us=50_000),
    disks=(
        Disk(
            path=ROOT.path,
            target="vda",
            boot_order=1,
            serial="root",
            cache="none",
            iotune=IoTune(bytes_per_s=100_000_000, iops=1000),
            backing=(BASE,),
        ),
        SEED,
    ),
    nics=(
        Nic(
            mac="52:54:00:12:34:56",
            network="gh-net-1",
            filter=FilterRef(name="gh-net-1", ip="10.5.0.7"),
            bandwidth=Bandwidth(inbound_kbit=100_000, outbound_kbit=50_000),
            mtu=1400,
        ),
    ),
    vnc=Vnc(socket="/run/gh/a.vnc", password="aB3dE6gH"),
    serial=Serial(socket="/run/gh/a.serial", log="/srv/gh/log/a.log"),
    watchdog=Watchdog(),
    spare_ports=4,
)
EMULATED = DomainSpec(
    uuid=SMALL.uuid,
    name=SMALL.name,
    tag=TAG,
    vcpus=1,
    memory_mib=768,
    machine="pc",
    firmware=Firmware(kind="uefi"),
    cpu=Cpu(mode="custom", model="Nehalem"),
    memory_limit_mib=2048,
    tb_cache_mib=32,
    share_pages=True,
    disks=(
        Disk(path=ROOT.path, target="sda", bus="scsi", boot_order=1, discard=False),
        Disk(path=SEED.path, target="sdb", bus="scsi", device="cdrom", format="raw", readonly=True),
    ),
    nics=(
        Nic(mac="52:54:00:12:34:57", network="gh-net-1", model="e1000", link_up=False),
        Nic(mac="52:54:00:12:34:58", port="0198a3c2-bbbb-7cc0-b0e1-000000000001", offload=False),
        Nic(
            mac="52:54:00:12:34:59",
            port="0198a3c2-bbbb-7cc0-b0e1-000000000002",
            bandwidth=Bandwidth(inbound_kbit=8000, outbound_kbit=8000),
        ),
    ),
    tablet=Tablet(bus="virtio"),
    video=Video(model="virtio"),
    balloon=Balloon(stats_period_s=None),
    agent=None,
    rng=None,
    panic=None,
    on_crash="preserve",
)
FIRST = DhcpHost(mac="52:54:00:12:34:56", ip="10.5.0.7", name="web-1")
NAT = NetworkSpec(
    name="gh-net-1",
    tag=TAG,
    bridge="gh0198a3c2",
    gateway="10.5.0.1",
    prefix=24,
    hosts=(DhcpHost(mac="52:54:00:12:34:57", ip="10.5.0.8"), FIRST),
    domain="acme.internal",
    mtu=1400,
    names=(DnsName(ip="10.5.0.8", name="db"), DnsName(ip="10.5.0.7", name="web-1")),
    dns=("10.5.0.1", "9.9.9.9"),
    routes=(("203.0.114.0/24", "10.5.0.1"),),
)
ISOLATED = NetworkSpec(
    name="gh-net-2",
    tag=TAG,
    bridge="gh0198a3c3",
    gateway="10.6.0.1",
    prefix=16,
    mode="isolated",
    dhcp_start="10.6.1.0",
    dhcp_end="10.6.1.255",
)


@dataclass(frozen=True)
class Shape:
    """A golden file's name, the schema of libvirt it must pass, and the element itself."""

    name: str
    schema: str
    element: Element


GROWING = replace(SMALL, vcpus_max=4, memory_mib_max=4096)
WINDOWS = replace(
    SMALL,
    vcpus=2,
    memory_mib=4096,
    kind="kvm",
    cpu=Cpu(mode="host-model"),
    firmware=Firmware(kind="uefi", secure_boot=True, nvram="/srv/gh/pool/nvram.fd"),
    hyperv=Hyperv(),
    local_time=True,
    tpm=Tpm(),
    disks=(
        Disk(path=ROOT.path, target="sda", bus="sata", boot_order=1, backing=(BASE,)),
        Disk(path="/srv/gh/pool/drivers.qcow2", target="sde", bus="sata", device="cdrom", readonly=True, backing=()),
        Disk(path=SEED.path, target="sdf", bus="sata", device="cdrom", format="raw", readonly=True, backing=()),
    ),
    nics=(Nic(mac="52:54:00:12:34:58", network="gh-net-1", model="e1000e"),),
    spare_ports=2,
)
CEPH_USER = CephUser(name="guesthouse", secret="0198a3c2-dddd-7cc0-b0e1-000000000001")
POOLS = {
    "pool-netfs": PoolSpec(
        name="gh-nfs", type="netfs", path="/srv/gh/nfs", servers=("nfs.example.test",), source="/export/gh"
    ),
    "pool-logical": PoolSpec(name="gh-lvm", type="logical", path="/dev/gh", source="gh"),
    "pool-rbd": PoolSpec(
        name="gh-rbd", type="rbd", servers=("mon1.example.test", "mon2.example.test"), source="gh", ceph=CEPH_USER
    ),
}

DISKS_EVERYWHERE = replace(
    SMALL,
    disks=(
        ROOT,
        Disk(path="/dev/gh/vol-1", target="vdb", format="raw", lies="block", backing=()),
        Disk(
            path="gh/vol-2",
            target="vdc",
            format="raw",
            lies="network",
            ceph=Ceph(monitors=("mon1.example.test", "mon2.example.test"), user=CEPH_USER),
            iotune=IoTune(iops=100),
        ),
    ),
)
DOMAINS = {
    "domain-disks": DISKS_EVERYWHERE,
    "domain-growing": GROWING,
    "domain-small": SMALL,
    "domain-tenants": TENANTS,
    "domain-emulated": EMULATED,
    "domain-windows": WINDOWS,
}

SHAPES = (
    *(Shape(name, "domain", spec.element()) for name, spec in DOMAINS.items()),
    Shape("network-nat", "network", NAT.element()),
    Shape("network-isolated", "network", ISOLATED.element()),
    Shape("network-again", "network", ISOLATED.element(uuid=SMALL.uuid, mac="52:54:00:aa:bb:cc")),
    Shape(
        "filter-guest",
        "nwfilter",
        guest_filter(
            name="gh-net-1", subnet="10.5.0.0/24", gateway="10.5.0.1", forbidden=["203.0.113.9", "198.51.100.0/24"]
        ).element(),
    ),
    Shape("pool", "storagepool", PoolSpec(name="gh-pool", path="/srv/gh/pool").element()),
    *(Shape(name, "storagepool", spec.element()) for name, spec in POOLS.items()),
    Shape("volume-thick", "storagevol", VolumeSpec(name="lv", capacity=1 << 30, format="raw", thick=True).element()),
    Shape("volume-empty", "storagevol", VolumeSpec(name="data.raw", capacity=1 << 30, format="raw").element()),
    Shape("volume-overlay", "storagevol", VolumeSpec(name="root.qcow2", capacity=1 << 33, backing=BASE).element()),
)
