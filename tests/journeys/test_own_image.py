"""A customer's own image, on a real host: uploaded in pieces, a machine made of it, taken away with its copy."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.journeys.customer import Customer
from tests.journeys.test_create_guest import on_host
from tests.lab.hosts import Host
from tests.setup.test_up import Portal

PIECE = 1024**2
DISK = 3 * PIECE + 512


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A raw disk with nothing on it that boots."""
    return b"own disk".ljust(DISK, b"\x5a")


def copies(host: Host) -> set[str]:
    pools = [name for name in host.virsh("pool-list", "--name").split() if name.startswith("gh-")]
    files = {line.split()[0] for pool in pools for line in host.virsh("vol-list", pool).splitlines() if line.strip()}
    return {name for name in files if name.startswith("img-")}


def test_an_own_image_comes_serves_and_goes(customer: Customer, portal: Portal, lab_host: Host, disk: bytes) -> None:
    before, files = copies(lab_host), on_host(lab_host)["files"]
    words = {"name": "zz-own", "size": len(disk), "format": "raw", "sha256": hashlib.sha256(disk).hexdigest()}
    begun = customer.post("/image-uploads", words).json()
    for offset in range(0, len(disk), PIECE):
        sent = customer.piece(begun["id"], disk[offset : offset + PIECE], offset)
    again = customer.piece(begun["id"], disk[:PIECE], 0)

    operation = customer.ended(f"/api/v1/tenants/demo/operations/{sent.json()['operation']}")

    assert operation["status"] == "succeeded", operation
    assert again.status_code in (404, 409)
    image = customer.get(f"/images/{begun['image']}").json()
    assert (image["state"], image["virtual_size"], image["public"]) == ("ready", DISK, False)
    guest = customer.create("of-own", image=image["id"], start=False)
    (copy,) = copies(lab_host) - before
    assert image["id"].replace("-", "") in copy
    in_use = customer.delete(f"/images/{image['id']}")
    assert (in_use.status_code, in_use.json()["code"]) == (409, "image_in_use")
    customer.done(customer.delete(f"/guests/{guest['id']}", purge="true"))
    customer.done(customer.delete(f"/images/{image['id']}"))
    assert (copies(lab_host), on_host(lab_host)["files"]) == (before, files)
    assert customer.get(f"/images/{image['id']}").status_code == 404
    assert not list((Path(portal.installation.data_dir) / "uploads").iterdir())
    audit = portal.manage("audit")
    assert audit.returncode == 0, audit.stdout
