"""As whom work is done that nobody waits for: every Celery task and every kind of operation.

The rule for what a person asked for: their right is looked at when they ask, in the transaction that writes the operation
down, and not again when a worker takes it. What was accepted is a promise, and often half of it stands already (rows,
quota, claims); somebody's leaving must not leave their colleagues' machine half made. Taking it back is a deed of its own
(``operation.cancel``). The tenant's standing is looked at again, because a suspended tenant must begin nothing. The work
itself sees the rows of the operation's tenant, and no others (``docs/decisions/0010``).
"""

from __future__ import annotations

from typing import NamedTuple

from tenants.policy import Permission

P = Permission


class Task(NamedTuple):
    """A Celery task: as whom it works, on whose rows, and what a forged or doubled message of it does."""

    name: str
    actor: str
    scope: str
    forged: str


SYSTEM = "the portal itself"
EVERY = "every tenant's"
EARLY = "nothing but what was due"

TASKS = [
    Task("operations.tasks.run_operation", "whoever asked for the operation", "the operation's tenant's",
         "nothing without a row that is queued and due"),
    Task("operations.tasks.sweep_operations", SYSTEM, "operations'", EARLY),
    Task("operations.tasks.forget_old", SYSTEM, EVERY, EARLY),
    Task("tenants.tasks.letters_send", SYSTEM, "letters'", EARLY),
    Task("tenants.tasks.failed_sign_ins_note", SYSTEM, "the installation's log's", EARLY),
    Task("tenants.tasks.visits_end_due", SYSTEM, EVERY, EARLY),
    Task("tenants.tasks.forget_old", SYSTEM, EVERY, EARLY),
    Task("tenants.tasks.purge_tenants", SYSTEM, "each closing tenant's, one after another", EARLY),
    Task("tenants.tasks.forget_audit", SYSTEM, "each log's, one after another", EARLY),
    Task("billing.tasks.bill_hour", SYSTEM, EVERY, EARLY),
    Task("vms.tasks.check_hosts", SYSTEM, "hosts', and each tenant's of what such a host lost", EARLY),
    Task("vms.tasks.sweep_hosts", SYSTEM, "hosts'", "one more look"),
    Task("vms.tasks.sweep_host", SYSTEM, "those of whoever has guests on the host", "one more look"),
    Task("vms.tasks.halt_guests", SYSTEM, "each suspended tenant's, one after another", EARLY),
    Task("vms.tasks.keep_time", SYSTEM, "each tenant's, one after another", EARLY),
    Task("vms.tasks.keep_backups", SYSTEM, "each tenant's, one after another", EARLY),
    Task("vms.tasks.tidy_images", SYSTEM, EVERY, EARLY),
    Task("vms.tasks.tidy_exports", SYSTEM, EVERY, EARLY),
    Task("vms.tasks.sum_metrics", SYSTEM, EVERY, EARLY),
    Task("vms.tasks.empty_bins", SYSTEM, "each tenant's, one after another", EARLY),
]  # fmt: skip

CELERYS_OWN = "celery."
"""Celery's own tasks only put together those above."""


class Work(NamedTuple):
    """A kind of operation: what whoever asks for it must hold, or None where only the portal itself asks."""

    kind: str
    permission: Permission | None


KINDS = [
    Work("guest.batch", P.GUEST_CREATE),
    Work("guest.create", P.GUEST_CREATE),
    Work("guest.start", P.GUEST_POWER),
    Work("guest.shutdown", P.GUEST_POWER),
    Work("guest.stop", P.GUEST_POWER),
    Work("guest.reboot", P.GUEST_POWER),
    Work("guest.reset", P.GUEST_POWER),
    Work("guest.pause", P.GUEST_POWER),
    Work("guest.resume", P.GUEST_POWER),
    Work("guest.suspend", P.GUEST_POWER),
    Work("guest.wake", P.GUEST_POWER),
    Work("guest.resize", P.GUEST_EDIT),
    Work("guest.rebuild", P.GUEST_DELETE),
    Work("guest.putback", P.BACKUP_MANAGE),
    Work("guest.rescue", P.GUEST_EDIT),
    Work("guest.unrescue", P.GUEST_EDIT),
    Work("guest.tidy", None),
    Work("guest.insert", P.GUEST_EDIT),
    Work("guest.eject", P.GUEST_EDIT),
    Work("guest.guard", P.NETWORK_MANAGE),
    Work("group.apply", P.NETWORK_MANAGE),
    Work("group.follow", None),
    Work("guest.attach_port", P.GUEST_EDIT),
    Work("guest.detach_port", P.GUEST_EDIT),
    Work("guest.readdress", P.GUEST_EDIT),
    Work("guest.limit_port", P.GUEST_EDIT),
    Work("guest.password", P.GUEST_EDIT),
    Work("guest.keys", P.GUEST_EDIT),
    Work("guest.look", P.GUEST_CONSOLE),
    Work("guest.delete", P.GUEST_DELETE),
    Work("guest.purge", P.GUEST_DELETE),
    Work("guest.restore", P.GUEST_DELETE),
    Work("guest.withdraw", None),
    Work("network.change", P.NETWORK_MANAGE),
    Work("network.delete", P.NETWORK_MANAGE),
    Work("backup.create", P.BACKUP_MANAGE),
    Work("backup.verify", P.BACKUP_MANAGE),
    Work("backup.delete", P.BACKUP_MANAGE),
    Work("backup.tidy", None),
    Work("volume.create", P.VOLUME_MANAGE),
    Work("volume.attach", P.VOLUME_MANAGE),
    Work("volume.detach", P.VOLUME_MANAGE),
    Work("volume.extend", P.VOLUME_MANAGE),
    Work("volume.limit", P.VOLUME_MANAGE),
    Work("volume.delete", P.VOLUME_MANAGE),
    Work("volume.copy", P.SNAPSHOT_MANAGE),
    Work("volume.export", P.SNAPSHOT_MANAGE),
    Work("guest.clone", P.SNAPSHOT_MANAGE),
    Work("image.capture", P.SNAPSHOT_MANAGE),
    Work("snapshot.create", P.SNAPSHOT_MANAGE),
    Work("snapshot.revert", P.SNAPSHOT_MANAGE),
    Work("snapshot.delete", P.SNAPSHOT_MANAGE),
    Work("image.import", P.OPERATE),
    Work("image.fetch", P.IMAGE_MANAGE),
    Work("image.receive", P.IMAGE_MANAGE),
    Work("image.delete", P.IMAGE_MANAGE),
    Work("image.try", P.OPERATE),
    Work("image.test", P.IMAGE_MANAGE),
    Work("image.tidy", None),
    Work("image.evict", P.OPERATE),
    Work("pool.prepare", P.OPERATE),
    Work("pool.forget", P.OPERATE),
    Work("fabric.probe", P.OPERATE),
    Work("host.probe", P.OPERATE),
    Work("host.clear", None),
]
