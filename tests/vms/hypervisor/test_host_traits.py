"""What machines can be built of on a host is asked of its libvirt; files that are missing there decide."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import libvirt
import pytest

from tests.lab.hosts import Host
from tests.vms.hypervisor.conftest import OWNER
from vms.hypervisor.libvirt_driver import loop
from vms.hypervisor.libvirt_driver.traits import tpm_lacking, traits_found
from vms.hypervisor.xml.parse import root_of
from vms.states import Trait

FIRMWARE, SWTPM = "/usr/share/qemu/firmware", "/usr/bin/swtpm"
ENROLLED = f"{FIRMWARE}/40-edk2-x86_64-secure-enrolled.json"


@contextmanager
def without(host: Host, *mount: str) -> Iterator[None]:
    """The host as if what is mounted over were not there."""
    host.exec("mount", *mount)
    try:
        yield
    finally:
        host.exec("umount", mount[-1])


def asked(host: Host) -> tuple[tuple[Trait, ...], list[str]]:
    loop.ensure_running()
    raw, notes = libvirt.open(host.uri), list[str]()
    try:
        return traits_found(raw, owner=OWNER, kind="qemu", notes=notes), notes
    finally:
        raw.close()


def test_a_host_has_what_its_files_give_and_says_why_it_has_no_more(lab_host: Host):
    before = lab_host.virsh("list", "--all", "--name")

    assert asked(lab_host) == (("uefi", "secure_boot", "tpm"), [])
    with without(lab_host, "--bind", "/dev/null", ENROLLED):
        found, (note,) = asked(lab_host)
        assert found == ("uefi", "tpm")
        assert "Secure Boot" in note
        assert "Unable to find any firmware" in note
    with without(lab_host, "-t", "tmpfs", "tmpfs", FIRMWARE), without(lab_host, "--bind", "/dev/null", SWTPM):
        found, notes = asked(lab_host)
        assert found == ()
        assert [word for note in notes for word in ("UEFI firmware", "Secure Boot", "swtpm.") if word in note] == [
            "UEFI firmware",
            "Secure Boot",
            "swtpm.",
        ]
    assert lab_host.virsh("list", "--all", "--name") == before


@pytest.mark.parametrize(
    ("why", "models", "backends", "versions"),
    [
        ("", "tpm-tis tpm-crb", "passthrough emulator", "1.2 2.0"),
        ("its QEMU has none.", "tpm-tis", "emulator", "2.0"),
        ("libvirt finds no swtpm.", "tpm-tis tpm-crb", "passthrough", ""),
        ("its swtpm has no version 2.0.", "tpm-tis tpm-crb", "emulator", "1.2"),
        ("its QEMU has none.", "", "", ""),
    ],
)
def test_a_tpm_needs_both_models_swtpm_and_its_version(why: str, models: str, backends: str, versions: str):
    said = {"model": models, "backendModel": backends, "backendVersion": versions}
    enums = "".join(
        f"<enum name='{name}'>{''.join(f'<value>{each}</value>' for each in words.split())}</enum>"
        for name, words in said.items()
    )

    assert (
        tpm_lacking(root_of(f"<domainCapabilities><devices><tpm>{enums}</tpm></devices></domainCapabilities>")) == why
    )
