"""How fast a real machine really is, and what its card has carried then: told by a neighbour on its network that counts, too."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from operations.runner import run
from tenants.scoping import every_tenant, tenant_scope
from tests.lab.guests import Serial
from tests.lab.hosts import Host, Lab
from tests.lab.waiting import wait_until
from tests.live import neighbour
from tests.live.livebench import LiveBench
from vms.hypervisor import pool
from vms.models import CardCounter, Guest, Port, Subnet
from vms.names import bridge_name, serial_socket
from vms.selectors.installation import installation_owner
from vms.services.guests import guest_create
from vms.services.limiting import port_limit
from vms.specs import GuestSpec

pytestmark = pytest.mark.django_db(transaction=True)
BOOT_S = 180
SIZES = {"in": 4608 * 1024, "out": 1536 * 1024}
SLACK = 1.5
"""Of so little the bursts that are let through, and what lies in queues at the end, are a part: up to 700 KiB of what comes in.
A limit that is not there is missed by ten times as much."""
PLUG = """
ip netns add neighbour
ip link add nb0 type veth peer name nb1
ip link set nb0 master {bridge} up
ip link set nb1 netns neighbour
ip -n neighbour addr add {ip}/{prefix} dev nb1
ip -n neighbour link set nb1 up"""


@pytest.fixture
def shaping_host() -> Iterator[Host]:
    """A host whose kernel limits, or is made to."""
    lab = Lab(Path(f"/var/tmp/ghb-{os.getpid()}"), tied=True, tc_shim=True)
    host = lab.up(1)[0]
    yield host
    pool.close_all()
    lab.down()


def test_a_card_carries_what_it_may_and_no_more(
    shaping_host: Host, tiny_image: Path, settings: Any, tmp_path: Path
) -> None:
    settings.DATA_DIR = tmp_path
    bench = LiveBench(shaping_host, tiny_image)
    assert "bandwidth" not in bench.host.unenforced
    guest, line = signed_in(bench)
    with every_tenant(why="test"):
        subnet = Subnet.objects.get(network__ports__guest=guest)
    cidr = IPv4Network(subnet.cidr)
    free, prefix = str(cidr[200]), cidr.prefixlen
    bridge = bridge_name(installation_owner(), subnet.network_id)
    shaping_host.exec("sh", "-ec", PLUG.format(bridge=bridge, ip=free, prefix=prefix))

    hears = lambda: line.ask(f"ping -c 1 -W 2 {free} >/dev/null; echo $?") == "0" or None  # noqa: E731
    wait_until(hears, timeout_s=60, what="the neighbour, once the bridge lets it speak")

    free_in, free_out = rates(shaping_host, line, free)
    limit(bench, guest, in_mbit=2, out_mbit=1)
    slow_in, slow_out = rates(shaping_host, line, free)
    limit(bench, guest, in_mbit=0, out_mbit=0)
    again_in, again_out = rates(shaping_host, line, free)

    said = [round(rate / 1024) for rate in (free_in, slow_in, again_in, free_out, slow_out, again_out)]
    print("KiB/s in: free, 2 Mbit/s, free; out: free, 1 Mbit/s, free:", said)
    assert slow_in < 2_000_000 / 8 * SLACK < max(free_in, again_in), said
    assert slow_out < 1_000_000 / 8 * SLACK < max(free_out, again_out), said
    line.close()
    assert run(bench.ask(guest, "stop").pk) == "succeeded"
    counted = carried(guest)
    more = [each / (3 * size) for each, size in zip(counted, SIZES.values(), strict=True)]
    print("carried, of what was sent:", [round(each, 3) for each in more])
    assert all(1 <= each <= 1.2 for each in more), counted
    assert bench.findings() == []


def signed_in(bench: LiveBench) -> tuple[Guest, Serial]:
    with tenant_scope(bench.house.tenant):
        spec = GuestSpec(name="fast", flavor=bench.flavor, image=bench.image, password="correct horse")
        operation = guest_create(bench.house.tenant, spec, actor=bench.house.actor)
        guest = Guest.objects.get(pk=operation.subject_id)
    assert run(operation.pk) == "succeeded"
    line = Serial(Path(serial_socket(bench.host.run_dir, guest.pk)))
    line.log_in("root", "correct horse", timeout_s=BOOT_S)
    wait_until(lambda: "inet " in line.ask("ip -4 addr show dev eth0") or None, timeout_s=60, what="its address")
    for call in (
        "call_in() { nc $1 $2 </dev/null | wc -c; }",
        f"call_out() {{ head -c {SIZES['out']} /dev/zero | nc $1 $2; echo {SIZES['out']}; }}",
    ):
        line.ask(call)
    return guest, line


def carried(guest: Guest) -> tuple[int, int]:
    with every_tenant(why="test"):
        return CardCounter.objects.values_list("in_bytes", "out_bytes").get(port__guest=guest)


def limit(bench: LiveBench, guest: Guest, **mbit: int) -> None:
    with tenant_scope(bench.house.tenant):
        port = Port.objects.select_related("guest").get(guest=guest)
        operation = port_limit(port, actor=bench.house.actor, **mbit)
    assert run(operation.pk) == "succeeded"


def rates(host: Host, line: Serial, ip: str) -> tuple[float, float]:
    """Bytes a second of TCP into the machine and out of it, ``SIZES`` bytes, by the neighbour's clock."""
    found = []
    for way, port in (("in", 7001), ("out", 7002)):
        size = str(SIZES[way])
        words = ("ip", "netns", "exec", "neighbour", sys.executable, neighbour.__file__, way, ip, str(port), size)
        heard = subprocess.Popen(host.inside(*words), stdout=subprocess.PIPE, text=True)
        assert heard.stdout is not None
        assert heard.stdout.readline().strip() == "listening"
        assert line.ask(f"call_{way} {ip} {port}", timeout_s=120) == size
        said, _none = heard.communicate(timeout=120)
        found.append(SIZES[way] / float(said))
    return found[0], found[1]
