"""The doctor: what it finds, what it mends, and that it keeps quiet about what is well."""

from __future__ import annotations

import grp
import os
import socket
import stat
import time
from pathlib import Path

import pytest

from launcher import doctor


@pytest.fixture
def kvm(tmp_path: Path) -> Path:
    """Something that stands for /dev/kvm."""
    node = tmp_path / "kvm"
    node.touch()
    return node


def own_group() -> str:
    return grp.getgrgid(os.getgid()).gr_name


def test_a_closed_kvm_is_opened_for_its_group_and_said(kvm: Path) -> None:
    kvm.chmod(0o600)

    findings = list(doctor.kvm_node(kvm, own_group()))

    assert [finding.mended for finding in findings] == [True]
    assert stat.S_IMODE(kvm.stat().st_mode) == 0o660


@pytest.mark.parametrize("mode", [0o660, 0o666])
def test_an_open_kvm_is_left_alone(kvm: Path, mode: int) -> None:
    kvm.chmod(mode)

    assert list(doctor.kvm_node(kvm, own_group())) == []
    assert stat.S_IMODE(kvm.stat().st_mode) == mode


def test_no_kvm_is_said_and_not_fatal(tmp_path: Path) -> None:
    assert "emulated" in next(doctor.kvm_node(tmp_path / "kvm")).text


@pytest.mark.parametrize(("flags", "findings"), [("fpu vmx sse", 0), ("fpu svm", 0), ("fpu sse hypervisor", 1)])
def test_processors_without_virtualization_are_named(flags: str, findings: int) -> None:
    assert len(list(doctor.processor(f"processor\t: 0\nflags\t\t: {flags}\n"))) == findings


def test_missing_helpers_are_named_with_what_fails_without_them() -> None:
    texts = [finding.text for finding in doctor.helpers(lambda name: None if name == "dnsmasq" else f"/usr/bin/{name}")]

    assert texts == ["dnsmasq is not installed: tenants' networks give no addresses"]


@pytest.mark.parametrize(("value", "findings"), [("1\n", 0), ("0\n", 1)])
def test_bridged_packets_past_the_packet_filter_are_said(tmp_path: Path, value: str, findings: int) -> None:
    (tmp_path / "bridge-nf-call-iptables").write_text(value)

    assert len(list(doctor.bridged_packets(tmp_path))) == findings


@pytest.mark.parametrize(("kib", "findings"), [(1024 * 1024, 1), (8 * 1024 * 1024, 0)])
def test_scarce_memory_is_said(kib: int, findings: int) -> None:
    assert len(list(doctor.memory(f"MemTotal: 1 kB\nMemAvailable: {kib} kB\n"))) == findings


def test_a_host_nobody_answers_at_is_said_and_nothing_is_started_for_it(tmp_path: Path) -> None:
    uri = f"qemu+unix:///system?socket={tmp_path / 'nobody'}"

    assert [finding.mended for finding in doctor.hypervisor(uri)] == [False]


def test_a_silent_daemon_cannot_hold_the_doctor_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "ANSWER_TIMEOUT_S", 0.5)
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(tmp_path / "silent"))
        silent.listen()
        started = time.monotonic()

        assert not doctor.answers(f"qemu+unix:///system?socket={tmp_path / 'silent'}")

    assert time.monotonic() - started < 10
