"""A tenant on a host of the lab, whose machines real handlers make, in workers that may kill themselves on the way."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from uuid import UUID

from django.db import connection

from launcher.installation import ROOT
from operations.models import Operation
from tests import factories
from tests.lab.hosts import Host as LabHost
from tests.vms.reconcile.bench import Bench
from vms.disks.inspect import inspect
from vms.hypervisor import pool as connections
from vms.models import Guest
from vms.names import pool_name
from vms.selectors.installation import installation_owner
from vms.services.images import image_path

WORKER = """
import sys
import django
django.setup()
import vms.handlers
from operations.runner import run
print(run(sys.argv[1]))
"""


class LiveBench(Bench):
    """The same bench on a real host; what it makes there goes with the host."""

    def __init__(self, host: LabHost, image: Path) -> None:
        self.name = f"live-{host.name}"
        self.lab_host = host
        self.enrol(host.uri, data_dir=str(host.pool_dir / "live"), run_dir=str(host.run_dir))
        self.forget_copies(host)
        self.image = take_image(image)

    def forget_copies(self, host: LabHost) -> None:
        """Copies of images that an earlier bench brought belong to nobody: its database is gone."""
        hv, name = connections.get(host.uri), pool_name(installation_owner())
        if hv.pool(name) is not None:
            for volume in hv.volumes(name):
                if volume.name.startswith("img-"):
                    hv.delete_volume(name, volume.name)

    def let_speak(self, pk: UUID) -> None:
        """Agents of real machines answer when they have started."""


def take_image(file: Path) -> Any:
    """A real image as this installation's; its file lies where images do."""
    image = factories.image(
        "tiny-real", virtual_size=inspect(file).virtual_size, size=file.stat().st_size,
        sha256=hashlib.sha256(file.read_bytes()).hexdigest(),
    )  # fmt: skip
    image_path(image).parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, image_path(image))
    return image


def work(operation: Operation, *, die_at: str, data: Path) -> subprocess.CompletedProcess[str]:
    """Run the operation in a process of its own, which kills itself at ``die_at`` if it gets there."""
    database = os.environ["DATABASE_URL"].rpartition("/")[0] + "/" + str(connection.settings_dict["NAME"])
    environment = {
        **os.environ, "DATABASE_URL": database, "DJANGO_SETTINGS_MODULE": "portal.settings.test",
        "GUESTHOUSE_KILL_AT": die_at, "GUESTHOUSE_DATA_DIR": str(data), "PYTHONPATH": str(ROOT),
    }  # fmt: skip
    return subprocess.run(
        [sys.executable, "-c", WORKER, str(operation.pk)], env=environment, cwd=ROOT, capture_output=True, text=True,
        timeout=300, check=False,
    )  # fmt: skip


def left_of(guest: Guest, host: LabHost) -> list[str]:
    """Everything on the host that bears the machine's id, in any spelling."""
    words = (str(guest.pk), guest.pk.hex)
    said = [host.virsh("list", "--all", "--uuid"), host.virsh("net-list", "--all"), host.virsh("nwfilter-list")]
    files = [str(path) for folder in (host.pool_dir, host.run_dir) for path in folder.rglob("*")]
    return [line for line in [*files, *"\n".join(said).splitlines()] if any(word in line for word in words)]
