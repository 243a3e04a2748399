"""Snapshots as a customer uses them, on a real host: something is written, kept, changed, and there again."""

from __future__ import annotations

import subprocess
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
    """The files that its definition writes to, as the tests' machine finds them."""
    names = [
        line.split()[-1].rpartition("/")[2] for line in host.virsh("domblklist", pk).splitlines() if "/vol-" in line
    ]
    return [str(path) for name in names for path in host.pool_dir.parent.rglob(name)][: len(names)]


def test_what_was_written_changed_and_lost_is_there_again(customer: Customer, portal: Portal, lab_host: Host) -> None:
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
    customer.done(customer.delete(f"/snapshots/{awake['id']}"))
    customer.act(pk, "stop")
    customer.done(customer.delete(f"/snapshots/{frozen['id']}"))
    assert listed(customer, pk) == []
    assert_sound(lab_host, pk)
    audit = portal.manage("audit")
    assert audit.returncode == 0, audit.stdout
    volumes = [volume["id"] for volume in customer.guest(pk)["volumes"]]
    customer.done(customer.delete(f"/guests/{pk}", purge="true"))
    for volume in volumes[1:]:
        customer.done(customer.delete(f"/volumes/{volume}"))


def holds_still(customer: Customer, pk: str) -> bool:
    """Does the machine's agent answer yet, so that its file systems hold still for a snapshot?"""
    tried = take(customer, pk, "try")
    customer.done(customer.delete(f"/snapshots/{tried['id']}"))
    return bool(tried["consistency"] == "frozen")


def listed(customer: Customer, pk: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = customer.get("/snapshots", guest=pk).json()["items"]
    return found
