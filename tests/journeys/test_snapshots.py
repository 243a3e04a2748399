"""Snapshots as a customer uses them, on a real host: something is written, kept, changed, and there again."""

from __future__ import annotations

import hashlib
import json
import subprocess
from pathlib import Path
from typing import Any

from tests.journeys.customer import BOOT_S, Customer
from tests.lab.hosts import Host
from tests.lab.waiting import wait_until
from tests.setup.test_up import Portal

PASSWORD = "correct horse"
NOTE = "/note"


def take(customer: Customer, guest: str, name: str, **wish: Any) -> dict[str, Any]:
    operation = customer.done(customer.post("/snapshots", {"guest": guest, "name": name, **wish}))
    found: dict[str, Any] = customer.get(f"/snapshots/{operation['subject']['id']}").json()
    assert (found["state"], found["operation"], found["problem"]) == ("ready", None, None)
    return found


def assert_sound(host: Host, pk: str) -> None:
    """Each disk of the machine, which is off, is whole."""
    for disk in customer_disks(host, pk):
        done = subprocess.run(["qemu-img", "check", disk], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def customer_disks(host: Host, pk: str) -> list[str]:
    """The files that its definition writes to: two, for what is here."""
    disks = [line.split()[-1] for line in host.virsh("domblklist", pk).splitlines() if "/vol-" in line]
    assert len(disks) == 2
    return disks


def test_what_was_written_changed_and_lost_is_there_again(
    customer: Customer, portal: Portal, lab_host: Host, tmp_path: Path
) -> None:
    pk = customer.create("kept", password=PASSWORD, volumes=[{"name": "data", "size_gib": 1}])["id"]
    with customer.serial(pk) as line:
        line.log_in("root", PASSWORD, timeout_s=BOOT_S)
        line.ask(f"echo then > {NOTE}; echo then > /dev/vdb; sync")
    wait_until(lambda: holds_still(customer, pk), timeout_s=BOOT_S, what="the agent", every_s=2)
    frozen, awake = take(customer, pk, "frozen"), take(customer, pk, "awake", memory=True)
    assert (frozen["consistency"], awake["consistency"], len(frozen["disks"])) == ("frozen", "memory", 2)

    with customer.serial(pk) as line:
        line.at_shell()
        line.ask(f"echo since > {NOTE}; echo since > /dev/vdb; sync")
        assert line.ask(f"cat {NOTE}") == "since"
    customer.done(customer.post(f"/snapshots/{awake['id']}/revert", {"memory": True}))
    customer.sees(pk, "running", within_s=5)
    with customer.serial(pk) as line:
        line.at_shell()
        assert line.ask(f"cat {NOTE}; head -c 4 /dev/vdb").split() == ["then", "then"]
        line.ask(f"echo later > {NOTE}; sync")
    foreseen = customer.post(f"/snapshots/{frozen['id']}/revert?dry_run=true").json()
    assert (foreseen["stops"], len(foreseen["disks"])) == (True, 2)
    customer.done(customer.post(f"/snapshots/{frozen['id']}/revert"))

    customer.sees(pk, "stopped", within_s=5)
    assert_sound(lab_host, pk)
    customer.act(pk, "start")
    with customer.serial(pk) as line:
        line.log_in("root", PASSWORD, timeout_s=BOOT_S)
        assert line.ask(f"cat {NOTE}; head -c 4 /dev/vdb").split() == ["then", "then"]
    taken = exported(customer, {"snapshot": frozen["id"], "position": 1}, tmp_path)
    customer.done(customer.delete(f"/snapshots/{awake['id']}"))
    customer.act(pk, "stop")
    assert_same(taken, customer_disks(lab_host, pk)[1])
    customer.done(customer.delete(f"/snapshots/{frozen['id']}"))
    assert listed(customer, pk) == []
    assert_sound(lab_host, pk)
    audit = portal.manage("audit")
    assert audit.returncode == 0, audit.stdout
    volumes = [volume["id"] for volume in customer.guest(pk)["volumes"]]
    customer.done(customer.delete(f"/guests/{pk}", purge="true"))
    for volume in volumes[1:]:
        customer.done(customer.delete(f"/volumes/{volume}"))


def exported(customer: Customer, what: dict[str, Any], folder: Path) -> Path:
    """Have a disk made into a file, while its machine runs, and fetch that in two parts, as after a line that broke."""
    operation = customer.done(customer.post("/disk-exports", what))
    export = customer.get(f"/disk-exports/{operation['subject']['id']}").json()
    assert export["state"] == "ready"
    url, half = customer.path(f"/disk-exports/{export['id']}/content"), export["size"] // 2
    first = customer.http.get(url, headers={"Range": f"bytes=0-{half - 1}"})
    rest = customer.http.get(url, headers={"Range": f"bytes={half}-", "If-Range": first.headers["ETag"]})
    assert (first.status_code, rest.status_code) == (206, 206)
    assert "x-send-file" not in first.headers
    content = first.content + rest.content
    assert hashlib.sha256(content).hexdigest() == export["sha256"]
    assert customer.http.get(url).content == content
    file = folder / export["file_name"]
    file.write_bytes(content)
    assert customer.delete(f"/disk-exports/{export['id']}").status_code == 204
    assert customer.http.get(url).status_code == 404
    return file


def assert_same(file: Path, disk: str) -> None:
    """A file stands by itself and holds what a disk does."""
    told = subprocess.run(["qemu-img", "info", "--output=json", file], check=True, capture_output=True, text=True)
    assert not {"backing-filename", "snapshots"} & set(json.loads(told.stdout))
    done = subprocess.run(
        ["qemu-img", "compare", "-F", "qcow2", file, disk], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def holds_still(customer: Customer, pk: str) -> bool:
    """Does the machine's agent answer yet, so that its file systems hold still for a snapshot?"""
    tried = take(customer, pk, "try")
    customer.done(customer.delete(f"/snapshots/{tried['id']}"))
    return bool(tried["consistency"] == "frozen")


def listed(customer: Customer, pk: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = customer.get("/snapshots", guest=pk).json()["items"]
    return found
