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

from django.conf import settings
from django.db import connection

from launcher.installation import ROOT
from operations.models import Operation
from tests import factories
from tests.lab.hosts import Host as LabHost
from tests.vms.reconcile.bench import Bench
from vms.disks.inspect import inspect
from vms.models import Guest
from vms.names import Owner, pool_name
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
        (host.pool_dir / "live").mkdir(mode=0o711, exist_ok=True)
        wipe(host)
        self.enrol(host.uri, data_dir=str(host.pool_dir / "live"), run_dir=str(host.run_dir))
        self.image = take_image(image)

    def let_speak(self, pk: UUID) -> None:
        """Agents of real machines answer when they have started."""


def wipe(host: LabHost) -> None:
    """Take away what tests left on the host under the installation's name: their database is gone, or is about to go.

    Copies of images always stay; the rest is of a test that failed, which is not to fail those after it.
    """
    ours = pool_name(Owner(settings.INSTALLATION_ID, epoch=0))

    def names(*listed: str) -> list[str]:
        return [word for word in host.virsh(*listed).split() if word.startswith(ours)]

    for domain in names("list", "--all", "--name"):
        host.virsh("destroy", domain, check=False)
        host.virsh("undefine", domain, "--managed-save", "--snapshots-metadata", "--checkpoints-metadata", "--nvram")
    for kind in ("net", "pool"):
        for name in names(f"{kind}-list", "--all", "--name"):
            host.virsh(f"{kind}-destroy", name, check=False)
            host.virsh(f"{kind}-undefine", name)
    while filters := names("nwfilter-list"):
        for name in filters:
            host.virsh("nwfilter-undefine", name, check=False)  # not yet, while another refers to it
        if names("nwfilter-list") == filters:
            raise RuntimeError(f"{host.name} keeps {filters}")
    for path in (host.pool_dir / "live").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


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
