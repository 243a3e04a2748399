"""The lab keeps its promises: hosts are real, private, can be broken in the ways we need, and leave nothing."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import fixtures
from tests.lab.hosts import Host, Lab
from tests.lab.namespaces import Pid
from tests.lab.waiting import wait_until


def traces(lab: Lab) -> list[str]:
    """What a lab has left on this machine: processes, network devices, cgroups, files."""
    found = [str(path.parent) for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path, str(lab.directory))]
    found += [line for line in _said("ip", "-br", "link").splitlines() if lab.id in line]
    found += [str(path) for path in Path("/sys/fs/cgroup").glob(f"**/guesthouse-lab-{lab.id}")]
    return found + [str(path) for path in [lab.directory] if path.exists()]


def test_two_labs_live_side_by_side_and_leave_nothing(tmp_lab_dir: Path) -> None:
    labs = [Lab(tmp_lab_dir.with_name(f"{tmp_lab_dir.name}{letter}"), tied=True) for letter in "ab"]

    hosts = [lab.up(2) for lab in labs]
    names = {host.exec("hostname").stdout.strip() for pair in hosts for host in pair}
    networks = {lab.network for lab in labs}
    for lab in labs:
        lab.down()

    assert names == {"host1", "host2"}
    assert len(networks) == 2
    assert [traces(lab) for lab in labs] == [[], []]


def test_hosts_die_with_the_process_that_made_them(tmp_lab_dir: Path) -> None:
    code = """if True:
        import pathlib, sys
        from tests.lab.hosts import Lab
        Lab(pathlib.Path(sys.argv[1]), tied=True).up(1)
        print("up", flush=True)
        input()
    """
    maker = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_lab_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout
    assert maker.stdin
    assert maker.stdout.readline() == "up\n"
    host = Lab(tmp_lab_dir).host("host1")
    assert host.is_up

    maker.kill()
    maker.wait()
    maker.stdin.close()
    maker.stdout.close()

    wait_until(lambda: not host.is_up, timeout_s=10, what="the host ends")
    Lab(tmp_lab_dir).down()
    assert traces(Lab(tmp_lab_dir)) == []


def test_what_a_killed_test_process_left_is_swept_away() -> None:
    gone = subprocess.Popen(["true"])
    gone.wait()
    left, kept = Path(f"/var/tmp/ghlab-{gone.pid}"), Path("/var/tmp/ghlab-1")
    for directory in (left, kept):
        (directory / "host1").mkdir(parents=True)

    fixtures._sweep()

    assert not left.exists()
    assert kept.exists()
    Lab(kept).down()


def test_a_host_has_its_own_libvirtd_and_offers_no_kvm(lab_host: Host) -> None:
    capabilities = lab_host.virsh("capabilities")

    assert "<domain type='qemu'" in capabilities
    assert "<domain type='kvm'" not in capabilities
    assert lab_host.exec("cat", "/proc/1/comm").stdout.strip() == "host_init.sh"
    assert lab_host.virsh("hostname") == "host1"


def test_run_and_pool_directories_have_one_path_inside_and_outside(lab_host: Host) -> None:
    (lab_host.pool_dir / "seen").write_text("inside")

    assert lab_host.exec("cat", lab_host.pool_dir / "seen").stdout == "inside"
    lab_host.exec("setpriv", "--reuid=libvirt-qemu", "--clear-groups", "touch", lab_host.run_dir / "written")
    assert (lab_host.run_dir / "written").exists()
    assert len(str(lab_host.run_dir / ("x" * 45))) < 108


def test_a_frozen_daemon_is_silent_until_thawed(lab_host: Host) -> None:
    lab_host.freeze()
    try:
        with pytest.raises(subprocess.TimeoutExpired):
            lab_host.virsh("list", timeout_s=1)
    finally:
        lab_host.thaw()

    assert lab_host.virsh("hostname") == "host1"


def test_a_killed_daemon_refuses_until_started(lab_host: Host) -> None:
    lab_host.kill_daemon()

    with pytest.raises(subprocess.CalledProcessError):
        lab_host.virsh("list")
    lab_host.start_daemon()
    assert lab_host.virsh("hostname") == "host1"


def test_hosts_reach_each_other_by_tls_until_the_link_is_pulled(lab: Lab) -> None:
    first, second = lab.up(2)
    ask = ("virsh", "-q", "-c", "qemu+tls://host2/system?pkipath=/etc/libvirt/pki", "hostname")
    assert first.exec(*ask).stdout.strip() == "host2"

    knock = ("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/host2/16514")
    assert first.exec(*knock, check=False).returncode == 0
    second.link_down()
    try:
        assert first.exec(*knock, check=False).returncode != 0
    finally:
        second.link_up()

    assert first.exec(*ask).stdout.strip() == "host2"


def test_a_power_cut_keeps_definitions(lab: Lab) -> None:
    _, second = lab.up(2)
    second.virsh("define", _domain_file(second, "kept"))

    second.power_off()
    assert not second.is_up
    second.power_on()

    assert "kept" in second.virsh("list", "--all", "--name").split()
    second.virsh("undefine", "kept")


def test_a_host_comes_back_before_its_former_network_has_gone(lab: Lab) -> None:
    _, second = lab.up(2)
    former = Pid.read(second.directory / "init.pid")
    assert former is not None
    with Path(f"/proc/{former.number}/ns/net").open():
        second.power_off()
        second.power_on()
        assert second.virsh("hostname") == "host2"


def test_the_shim_lets_libvirt_limit_bandwidth_on_any_kernel(tmp_lab_dir: Path) -> None:
    host = Lab(tmp_lab_dir, tied=True, tc_shim=True).up(1)[0]
    network = host.pool_dir / "net.xml"
    network.write_text("<network><name>quiet</name><bridge name='quiet0'/></network>")
    host.virsh("net-create", network)
    rates = "<inbound average='300' peak='300' burst='64'/><outbound average='300' peak='300' burst='64'/>"
    nic = f"<interface type='network'><source network='quiet'/><bandwidth>{rates}</bandwidth></interface>"

    host.virsh("create", _domain_file(host, "limited", devices=nic))

    shaped = host.exec("tc", "qdisc", "show").stdout
    assert re.search(r"qdisc (htb|tbf) .* dev vnet", shaped)
    host.virsh("destroy", "limited")


def test_a_host_reaps_what_is_left_to_it(lab_host: Host) -> None:
    lab_host.exec("sh", "-c", "(true &) ; exec true")

    wait_until(
        lambda: not re.search(r"<defunct>", lab_host.exec("ps", "ax").stdout), timeout_s=5, what="no zombie in the host"
    )


def test_the_command_line_starts_and_ends_a_lab(tmp_lab_dir: Path) -> None:
    def lab(*words: str) -> str:
        return _said(str(Path(__file__).with_name("lab")), "--dir", str(tmp_lab_dir), *words)

    assert lab("up", "1").startswith("host1 up 10.77.")
    uri = lab("uri", "host1").strip()
    assert _said("virsh", "-c", uri, "hostname").strip() == "host1"
    assert lab("exec", "host1", "hostname").strip() == "host1"
    lab("daemon", "host1", "kill")
    lab("daemon", "host1", "start")
    lab("power", "host1", "off")
    assert lab("status").startswith("host1 down")
    lab("down")
    assert traces(Lab(tmp_lab_dir)) == []


@pytest.fixture
def tmp_lab_dir() -> Iterator[Path]:
    """A short path for a lab that the test makes itself, gone afterwards."""
    directory = Path(f"/var/tmp/ghl-{os.getpid()}")
    yield directory
    for path in directory.parent.glob(f"{directory.name}*"):
        Lab(path).down()


def _domain_file(host: Host, name: str, *, devices: str = "") -> Path:
    path = host.pool_dir / f"{name}.xml"
    path.write_text(
        f"<domain type='qemu'><name>{name}</name><memory unit='MiB'>64</memory>"
        f"<os><type arch='x86_64' machine='q35'>hvm</type></os><devices>{devices}</devices></domain>"
    )
    return path


def _said(*argv: str) -> str:
    return subprocess.run(argv, check=True, capture_output=True, text=True, timeout=60).stdout


def _mentions(cmdline: Path, text: str) -> bool:
    try:
        return text in cmdline.read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return False
