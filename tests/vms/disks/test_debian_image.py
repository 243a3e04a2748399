"""The Debian image is a genuine one: it boots, obeys its seed, and can be switched off and on."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.lab.fixtures import SshKey
from tests.lab.guests import guest
from tests.lab.hosts import Host
from vms.disks.build import build

SLOW_S = 1200


@pytest.mark.long
def test_debian_boots_and_obeys_its_seed(lab_host: Host, ssh_key: SshKey, tmp_path: Path) -> None:
    image = build("debian-12", tmp_path / "debian.qcow2", cache=tmp_path / "packages")
    fields = {
        "password": "corr€ct horse",
        "chpasswd": {"expire": False},
        "ssh_authorized_keys": [ssh_key.public],
        "runcmd": ["touch /root/ran"],
    }
    files = {
        "meta-data": yaml.safe_dump({"instance-id": "i-1", "local-hostname": "deb-1"}),
        "user-data": "#cloud-config\n" + yaml.safe_dump(fields),
    }
    with guest(lab_host, image.path, name="debian", files=files, memory_mib=768, disk_mib=4096) as made:
        made.start()
        serial = made.serial()
        serial.read_until(r"deb-1 login: $", timeout_s=SLOW_S)

        def ask(command: str) -> str:
            return made.ssh(ssh_key.path, command, user=image.default_user, timeout_s=SLOW_S)

        assert "status: done" in ask("cloud-init status --wait")
        assert ask("sudo ls /root") == "ran"
        assert int(ask("df --output=size -m / | tail -n1")) > 3800
        assert ask("systemctl --failed --quiet") == ""
        assert ask("locale 2>&1 | head -n1") == "LANG=C.UTF-8"
        made.wait_agent(timeout_s=60)
        serial.type("")
        serial.log_in("debian", "corr€ct horse", timeout_s=SLOW_S)
        serial.close()

        lab_host.virsh("shutdown", "debian", "--mode", "acpi")
        made.wait_state("shut off", timeout_s=120)
        made.start()

        assert ask("hostname") == "deb-1"
