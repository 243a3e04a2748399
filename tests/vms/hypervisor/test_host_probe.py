"""What a host really does is found by a machine that lives for a moment; the lab's kernel and its shortages decide."""

from __future__ import annotations

from pathlib import Path

import libvirt
import pytest

from tests.lab.hosts import Host
from tests.vms.hypervisor.conftest import OWNER
from vms.hypervisor import libvirt_driver
from vms.hypervisor.driver import Hypervisor
from vms.hypervisor.libvirt_driver.translate import translate


@pytest.fixture
def hypervisor(lab_host: Host) -> Hypervisor:
    return libvirt_driver.connect(lab_host.uri)


def kernel_shapes_traffic(host: Host) -> bool:
    """Whether libvirt's ``<bandwidth>`` can work there, asked of the kernel itself: it needs sch_sfq and act_police."""
    script = """
        ip link add probe0 type veth peer name probe1 || exit 2
        tc qdisc add dev probe0 root sfq && tc qdisc add dev probe0 ingress &&
        tc filter add dev probe0 parent ffff: protocol all u32 match u32 0 0 police rate 1mbit burst 10k drop
        works=$?; ip link del probe0; exit $works"""
    done = host.exec("sh", "-c", script, check=False)
    assert "probe0" not in host.exec("ip", "-o", "link").stdout
    return done.returncode == 0


def test_a_probe_says_what_the_kernel_says_and_leaves_nothing_behind(lab_host: Host, hypervisor: Hypervisor):
    before = (hypervisor.domains(), hypervisor.networks(), hypervisor.filters())

    result = hypervisor.probe(owner=OWNER)

    assert not result.accelerated, "the lab hides /dev/kvm"
    assert ("bandwidth" in result.unenforced) is not kernel_shapes_traffic(lab_host)
    assert "cputune" not in result.unenforced
    assert "nwfilter" not in result.unenforced
    for feature in result.unenforced:
        assert any(feature in note for note in result.notes)
    assert any("acceleration" in note for note in result.notes)
    assert (hypervisor.domains(), hypervisor.networks(), hypervisor.filters()) == before


@pytest.mark.parametrize("switch", ["bridge-nf-call-iptables", "bridge-nf-call-ip6tables"])
def test_where_bridged_frames_bypass_the_packet_filter_groups_do_not_hold(
    switch: str, lab_host: Host, hypervisor: Hypervisor
):
    """P-H2. libvirt puts their rules in place all the same, and says nothing."""
    assert "groups" not in hypervisor.probe(owner=OWNER).unenforced
    turn = ("sysctl", "-q", "-w")
    lab_host.exec(*turn, f"net.bridge.{switch}=0")
    try:
        result = hypervisor.probe(owner=OWNER)
    finally:
        lab_host.exec(*turn, f"net.bridge.{switch}=1")

    assert "groups" in result.unenforced
    assert [note for note in result.notes if f"net.bridge.{switch} must be 1" in note]
    assert not [pool for pool in lab_host.virsh("pool-list", "--all", "--name").split() if "trial" in pool]


def test_a_probe_clears_up_after_a_worker_that_died_in_one(lab_host: Host, hypervisor: Hypervisor, tmp_path: Path):
    left = tmp_path / "left.xml"
    left.write_text("<network><name>gh-contract-trial</name><bridge name='ghtleft'/></network>")
    lab_host.virsh("net-create", left)

    hypervisor.probe(owner=OWNER)

    assert "gh-contract-trial" not in [network.name for network in hypervisor.networks()]


def test_what_libvirt_says_of_a_missing_shaper_names_the_feature():
    """The raw failure of a start on a kernel without the shaper, as libvirt words it."""
    said = "Child process (tc qdisc add dev vnet0 parent 1:1 handle 2: sfq perturb 10) unexpected exit status 2: Error"
    error = libvirt.libvirtError(said)
    error.err = (libvirt.VIR_ERR_INTERNAL_ERROR, libvirt.VIR_FROM_NONE, said, 2, said, None, None, -1, -1)

    assert translate(error).feature == "bandwidth"
