"""The tiny image keeps its promises on a real host: boot, login, seed, keys, agent, power button, disk."""

from __future__ import annotations

import base64
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.lab.fixtures import SshKey
from tests.lab.guests import guest
from tests.lab.hosts import Host
from vms.disks.inspect import inspect

PASSWORD = "corr€ct: 'horse' \"battery\" #1"
BOOT_S = 240  # it takes 9 s on a machine that has nothing else to do


def cloud_config(**fields: object) -> str:
    return "#cloud-config\n" + yaml.safe_dump(fields)


def meta_data(instance: str, hostname: str = "web-1") -> str:
    return yaml.safe_dump({"instance-id": instance, "local-hostname": hostname})


def test_the_tiny_image_is_a_small_plain_qcow2(tiny_image: Path) -> None:
    seen = inspect(tiny_image, declared="qcow2")

    assert seen.file_size < 30 * 1024**2
    assert seen.virtual_size < 128 * 1024**2


def test_a_guest_boots_lets_its_owner_in_and_keeps_what_was_written(
    lab_host: Host, tiny_image: Path, ssh_key: SshKey
) -> None:
    user_data = cloud_config(
        password=PASSWORD,
        chpasswd={"expire": False},
        ssh_authorized_keys=[ssh_key.public],
        write_files=[{"path": "/etc/motd", "content": base64.b64encode(b"hello\n").decode(), "encoding": "b64"}],
        runcmd=["echo one >> /root/ran", ["sh", "-c", "echo 'two words' >> /root/ran"]],
    )
    files = {"meta-data": meta_data("i-1"), "user-data": user_data}
    with guest(lab_host, tiny_image, name="keeps", files=files, disk_mib=1024) as made:
        made.start()
        serial = made.serial()
        serial.read_until(r"Guesthouse Tiny Linux", timeout_s=BOOT_S)
        serial.log_in("root", PASSWORD, timeout_s=BOOT_S)
        assert "web-1 login:" in serial.seen

        assert serial.ask("hostname") == "web-1"
        assert int(serial.ask("df -m / | awk 'END{print $2}'")) > 900
        assert made.ssh(ssh_key.path, "cat /etc/motd", user="root") == "hello"
        made.wait_agent(timeout_s=30)
        assert made.ssh(ssh_key.path, "sleep 2; cat /root/ran", user="root") == "one\ntwo words"
        serial.ask("echo nonce > /root/nonce; sync")
        serial.close()

        lab_host.virsh("shutdown", "keeps", "--mode", "acpi")
        made.wait_state("shut off", timeout_s=30)
        made.start()

        assert (
            made.ssh(ssh_key.path, "cat /root/nonce /root/ran", user="root", timeout_s=BOOT_S)
            == "nonce\none\ntwo words"
        )


def test_nobody_gets_in_without_a_seed_and_a_reboot_comes_back(lab_host: Host, tiny_image: Path) -> None:
    with guest(lab_host, tiny_image, name="locked", files={"meta-data": meta_data("i-2", "locked-1")}) as made:
        made.start()
        serial = made.serial()
        for password in ("", "root"):
            serial.read_until(r"locked-1 login: $", timeout_s=BOOT_S)
            serial.type("root")
            serial.read_until(r"[Pp]assword: ?$", timeout_s=20)
            serial.type(password)
            serial.read_until(r"Login incorrect", timeout_s=20)

        lab_host.virsh("reboot", "locked", "--mode", "agent")

        serial.read_until(r"Guesthouse Tiny Linux[^$]*locked-1 login: $", timeout_s=BOOT_S)
        serial.close()


@pytest.mark.parametrize("machine", ["pc", "q35"])
def test_scripts_and_vendor_data_in_one_message(
    machine: str, lab_host: Host, tiny_image: Path, ssh_key: SshKey
) -> None:
    hashed = subprocess.run(
        ["openssl", "passwd", "-6", PASSWORD], check=True, capture_output=True, text=True
    ).stdout.strip()
    key = f"#cloud-config\nssh_authorized_keys:\n- {ssh_key.public}\n"
    script = "#!/bin/sh\necho from a script > /root/script\n"
    message = (
        'Content-Type: multipart/mixed; boundary="==b=="\nMIME-Version: 1.0\n\n'
        f"--==b==\nContent-Type: text/cloud-config\n\n{key}\n"
        "--==b==\nContent-Type: text/x-shellscript\nContent-Transfer-Encoding: base64\n\n"
        f"{base64.encodebytes(script.encode()).decode()}\n--==b==--\n"
    )
    files = {
        "meta-data": meta_data("i-3"),
        "vendor-data": cloud_config(hostname="vendor-1", password=hashed, runcmd=["echo vendor > /root/vendor"]),
        "user-data": message,
    }
    with guest(lab_host, tiny_image, name=f"parts-{machine}", files=files, machine=machine) as made:
        made.start()
        serial = made.serial()
        serial.log_in("root", PASSWORD, timeout_s=BOOT_S)
        serial.close()
        look = "for i in $(seq 100); do [ -e /var/lib/seed/run-status ] && break; usleep 100000; done; "
        seen = made.ssh(ssh_key.path, look + "cat /root/script /root/vendor; hostname", user="root", timeout_s=BOOT_S)

    assert seen == "from a script\nvendor\nvendor-1"
