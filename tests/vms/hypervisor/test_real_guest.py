"""A genuine machine, from the driver's verbs alone: it boots our image, reads our seed, keeps to our filter."""

from __future__ import annotations

import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.lab.guests import Serial as Line
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from vms.cloudinit import Seed
from vms.disks.seed import seed_iso
from vms.hypervisor import libvirt_driver
from vms.hypervisor.driver import Hypervisor, Owner, PowerEvent, Roots
from vms.hypervisor.errors import AgentSilent, Busy
from vms.hypervisor.filters import guest_filter
from vms.hypervisor.xml.domain import CpuTune, Disk, DomainSpec, FilterRef, IoTune, Layer, Nic, Serial, Tag, Vnc
from vms.hypervisor.xml.network import DhcpHost, NetworkSpec
from vms.states import Power

OWNER = Owner("real", 1)
UUID = "0198a3c2-bbbb-7cc0-b0e1-000000000001"
CARD = DhcpHost(mac="52:54:00:9a:00:05", ip="10.95.0.5")
FURTHER = DhcpHost(mac="52:56:00:9a:00:06", ip="10.95.0.6")
GATEWAY = "10.95.0.1"
PASSWORD = "Zq7rT2xW"
BOOT_S = 120


@dataclass
class Machine:
    hypervisor: Hypervisor
    host: Host
    spec: DomainSpec
    line: Line
    events: list[PowerEvent] = field(default_factory=list)


@pytest.fixture(scope="module")
def machine(lab_host: Host, tiny_image: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    hypervisor = libvirt_driver.connect(lab_host.uri)
    events: list[PowerEvent] = []
    hypervisor.subscribe(events.append, lambda _reason: None)
    seed = tmp_path_factory.mktemp("seed") / "seed.iso"
    seed.write_bytes(seed_iso(_seed()))
    pool = hypervisor.ensure_pool("gh-real", str(lab_host.pool_dir / "real"))
    base = hypervisor.upload_volume("gh-real", "base.qcow2", tiny_image, disk_format="qcow2")
    root = hypervisor.create_overlay("gh-real", "root.qcow2", base="base.qcow2", capacity=1 << 30)
    disc = hypervisor.upload_volume("gh-real", "seed.iso", seed, disk_format="raw")
    network = NetworkSpec(
        name="gh-real", tag=Tag(owner=OWNER, subject="n"), bridge="ghreal0", gateway=GATEWAY, prefix=24, hosts=(CARD,)
    )
    hypervisor.ensure_network(network)
    hypervisor.ensure_filter(guest_filter(name="gh-real", subnet="10.95.0.0/24", gateway=GATEWAY))
    run = lab_host.run_dir
    spec = DomainSpec(
        uuid=UUID,
        name="gh-real-1",
        tag=Tag(owner=OWNER, subject="guest-1", tenant="acme", generation=1),
        vcpus=1,
        memory_mib=192,
        tb_cache_mib=32,
        cputune=CpuTune(shares=1024, period_us=100_000, quota_us=90_000),
        disks=(
            Disk(
                path=root.path,
                target="vda",
                boot_order=1,
                cache="unsafe",
                iotune=IoTune(bytes_per_s=200_000_000, iops=5000),
                backing=(Layer(path=base.path, format="qcow2"),),
            ),
            Disk(path=disc.path, target="vdb", format="raw", readonly=True, backing=()),
        ),
        nics=(Nic(mac=CARD.mac, network="gh-real", filter=FilterRef(name="gh-real", ip=CARD.ip)),),
        vnc=Vnc(socket=str(run / "real.vnc"), password=PASSWORD),
        serial=Serial(socket=str(run / "real.serial"), log=str(run / "real.log")),
        spare_ports=2,
    )
    hypervisor.define(spec, roots=Roots(storage=(pool.path,), run=(str(run),), log=(str(run),)))
    hypervisor.start(UUID)
    line = Line(run / "real.serial")
    yield Machine(hypervisor, lab_host, spec, line, events)
    line.close()
    hypervisor.pull_plug(UUID)
    hypervisor.undefine(UUID, owner=OWNER)
    hypervisor.remove_network("gh-real", owner=OWNER)
    hypervisor.remove_filter("gh-real")
    for volume in hypervisor.volumes("gh-real"):
        hypervisor.delete_volume("gh-real", volume.name)
    hypervisor.remove_pool("gh-real")
    assert UUID not in {domain.uuid for domain in hypervisor.domains()}
    hypervisor.close()


def _hashed(password: str) -> str:
    hashing = ["openssl", "passwd", "-6", "-salt", "saltsalt", password]
    return subprocess.run(hashing, check=True, capture_output=True, text=True).stdout.strip()


def _seed() -> Seed:
    secret = _hashed("correct horse")
    return Seed(
        instance_id="i-1", hostname="web-1", password_hash=secret, user_data="#!/bin/sh\necho hi > /run/theirs\n"
    )


@pytest.fixture(scope="module")
def booted(machine: Machine) -> Machine:
    """The machine once its agent answers."""
    asked = lambda: machine.hypervisor.agent_facts(UUID).hostname or None  # noqa: E731
    wait_until(asked, timeout_s=BOOT_S, what="the agent", every_s=0.3)
    return machine


def test_the_screen_listens_on_a_socket_and_its_password_stands_in_no_command_line(machine: Machine):
    with socket.socket(socket.AF_UNIX) as screen:
        screen.connect(str(machine.host.run_dir / "real.vnc"))
        assert screen.recv(12).startswith(b"RFB 003.")

    lines = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)]
    assert any(UUID.encode() in line for line in lines), "QEMU is seen from here"
    assert not any(PASSWORD.encode() in line for line in lines)


def _readable(path: Path) -> bool:
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def test_the_guest_has_what_the_seed_says(booted: Machine):
    facts = booted.hypervisor.agent_facts(UUID)

    assert facts.hostname == "web-1"
    wait_until(
        lambda: CARD.ip in booted.hypervisor.agent_facts(UUID).addresses or None,
        timeout_s=30,
        what="its address",
        every_s=0.3,
    )
    assert CARD.ip in [lease.ip for lease in booted.hypervisor.leases("gh-real")]


def test_what_the_guest_uses_is_counted(booted: Machine):
    told = lambda: [each for each in booted.hypervisor.stats([UUID]) if each.memory_told_at] or None  # noqa: E731
    (stats,) = wait_until(told, timeout_s=30, what="a word of its memory", every_s=0.3)

    assert stats.cpu_ns > 0
    assert stats.memory_used_kib is not None
    assert 0 < stats.memory_used_kib < 192 * 1024
    assert stats.disks["vda"].in_bytes > 1024 * 1024
    assert stats.disks["vda"].in_count > 0
    assert set(stats.disks) == {"vda", "vdb"}
    (card,) = stats.nics.values()
    assert min(card.in_bytes, card.out_bytes, card.in_count, card.out_count) > 0


def test_everything_the_guest_ever_wrote_is_kept(booted: Machine):
    booted.line.read_until(r"login: $", timeout_s=BOOT_S)

    assert "login:" in (booted.host.run_dir / "real.log").read_text(errors="replace")


def test_the_guest_reaches_its_gateway_for_ping_and_names_only(booted: Machine):
    booted.line.type("")
    booted.line.log_in("root", "correct horse", timeout_s=BOOT_S)

    assert "0% packet loss" in booted.line.ask(f"ping -c 2 -W 5 {GATEWAY}")
    assert GATEWAY in booted.line.ask(f"nslookup localhost {GATEWAY} 2>&1")
    for port in (22, 16509, 16514):
        assert "answered" not in booted.line.ask(f"nc -w 2 {GATEWAY} {port} </dev/null && echo answered")
    elsewhere = f"nc -w 2 {booted.host.address} 16509 </dev/null && echo answered"
    assert "answered" not in booted.line.ask(elsewhere)


def test_the_owners_script_ran(booted: Machine):
    assert booted.line.ask("cat /run/theirs") == "hi"


def test_a_card_comes_while_the_machine_runs_and_goes_again(booted: Machine):
    hv, line = booted.hypervisor, booted.line
    hv.introduce("gh-real", host=FURTHER, name="", owner=OWNER)
    hv.attach_card(
        UUID,
        Nic(mac=FURTHER.mac, network="gh-real", filter=FilterRef(name="gh-real", ip=FURTHER.ip)),
        owner=OWNER,
    )
    find = f"grep -l {FURTHER.mac[-5:]} /sys/class/net/*/address"  # what is longer than a line comes back broken
    found = wait_until(lambda: line.ask(find) or None, timeout_s=120, what="the card", every_s=0.5)
    name = found.split("/")[4]
    line.ask(f"ip link set {name} up", timeout_s=60)
    line.ask(f"udhcpc -i {name} -nq -t 20", timeout_s=120)
    assert f"inet {FURTHER.ip}/24" in line.ask(f"ip -4 addr show dev {name}")
    assert "default" not in line.ask(f"ip -4 route show dev {name}")

    wait_until(lambda: let_go(hv) or None, timeout_s=120, what="that it lets go", every_s=0.1)

    assert [card.mac for cards in hv.cards(UUID).everywhere() for card in cards] == [CARD.mac] * 2
    assert line.ask(find) == ""


def test_another_address_is_the_only_one_that_a_running_machine_can_speak_as(booted: Machine):
    hv, line, other = booted.hypervisor, booted.line, "10.95.0.77"
    name = line.ask(f"grep -l {CARD.mac[-5:]} /sys/class/net/*/address").split("/")[4]
    hv.introduce("gh-real", host=DhcpHost(mac=CARD.mac, ip=other), name="", owner=OWNER)
    hv.readdress_card(UUID, CARD.mac, other, owner=OWNER)

    assert "100% packet loss" in line.ask(f"ping -c 1 -W 2 {GATEWAY}")
    line.ask(f"ip addr flush dev {name}")
    line.ask(f"udhcpc -i {name} -nq -t 20 -s /etc/dhcp", timeout_s=120)
    assert f"inet {other}/24" in line.ask(f"ip -4 addr show dev {name}")
    assert " 0% packet loss" in line.ask(f"ping -c 2 -W 5 {GATEWAY}")


def let_go(hypervisor: Hypervisor) -> bool:
    """Does the guest let go of its further card?"""
    try:
        hypervisor.detach_card(UUID, FURTHER.mac, owner=OWNER, timeout_s=2)
    except Busy:
        return False
    return True


def test_the_agent_sets_a_password_and_adds_keys_and_no_process_is_told_either(booted: Machine):
    hashed = _hashed("another horse")
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

    booted.hypervisor.agent_set_password(UUID, "root", hashed, hashed=True)
    for _ in range(2):
        booted.hypervisor.agent_add_keys(UUID, "root", [key])

    raw = booted.hypervisor.raw.lookupByUUIDString(UUID)  # type: ignore[attr-defined]
    assert [line for line in raw.authorizedSSHKeysGet("root") if line == key] == [key]
    assert not any(
        hashed.encode() in path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if _readable(path)
    )


def test_an_agent_that_says_no_is_silent_and_told_apart_from_a_silent_host(booted: Machine):
    with pytest.raises(AgentSilent) as refused:
        booted.hypervisor.agent_set_password(UUID, "nobody-of-that-name", "$6$secret", hashed=True)

    assert "$6$secret" not in refused.value.detail


def test_the_screen_is_a_picture_and_the_end_of_a_log_is_read(booted: Machine):
    assert booted.hypervisor.screenshot(UUID).startswith(b"\x89PNG")
    whole = booted.hypervisor.upload_volume("gh-real", "some.log", Path(__file__), disk_format="raw")
    tail = booted.hypervisor.log_tail("gh-real", "some.log", most=100)
    assert tail == Path(__file__).read_bytes()[-100:]
    assert len(booted.hypervisor.log_tail("gh-real", "some.log", most=1 << 20)) == whole.capacity
    assert booted.hypervisor.log_tail("gh-real", "none.log", most=100) == b""
    booted.hypervisor.delete_volume("gh-real", "some.log")


def test_the_limits_stand_on_the_live_machine(booted: Machine):
    limits = booted.host.virsh("schedinfo", UUID)
    disk = booted.host.virsh("blkdeviotune", UUID, "vda")

    assert "90000" in limits
    assert "200000000" in disk
    assert "5000" in disk


def test_a_reboot_and_a_power_button_are_heard(booted: Machine):
    before = len(booted.events)
    booted.hypervisor.press_reset_acpi(UUID)
    rebooted = lambda: any(event.rebooted for event in booted.events[before:]) or None  # noqa: E731
    wait_until(rebooted, timeout_s=BOOT_S, what="no word of the reboot")
    booted.line.read_until(r"login: $", timeout_s=BOOT_S)

    booted.hypervisor.press_power(UUID)

    assert booted.hypervisor.wait_power(UUID, frozenset({Power.STOPPED}), timeout_s=60) is Power.STOPPED
    told = lambda: any(event.power is Power.STOPPED for event in booted.events[before:]) or None  # noqa: E731
    wait_until(told, timeout_s=2, what="no word of the shutdown")
    seen = booted.hypervisor.domain(UUID)
    assert seen is not None
    assert (seen.power, seen.reason) == (Power.STOPPED, "shutdown")


def test_a_killed_machine_is_crashed_not_stopped(booted: Machine):
    booted.hypervisor.start(UUID)
    before = len(booted.events)

    booted.host.exec("sh", "-c", "kill -9 $(cat /run/libvirt/qemu/gh-real-1.pid)")

    assert booted.hypervisor.wait_power(UUID, frozenset({Power.CRASHED}), timeout_s=60) is Power.CRASHED
    told = lambda: [event.power for event in booted.events[before:] if event.power is Power.CRASHED] or None  # noqa: E731
    wait_until(told, timeout_s=2, what="no word of the crash")


def test_a_machine_whose_kernel_panics_is_crashed_too(booted: Machine):
    booted.hypervisor.pull_plug(UUID)
    booted.hypervisor.start(UUID)
    line = Line(booted.host.run_dir / "real.serial")
    try:
        line.log_in("root", "another horse", timeout_s=BOOT_S)
        line.type("echo c > /proc/sysrq-trigger")
        assert booted.hypervisor.wait_power(UUID, frozenset({Power.CRASHED}), timeout_s=60) is Power.CRASHED
    finally:
        line.close()
    seen = booted.hypervisor.domain(UUID)
    assert seen is not None
    assert (seen.power, seen.reason) == (Power.CRASHED, "crashed")
