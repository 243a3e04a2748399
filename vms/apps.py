"""The vms app."""

from django.apps import AppConfig


class VmsConfig(AppConfig):
    """The product: guests on hosts. Imports neither handlers nor the hypervisor; only workers do."""

    name = "vms"

    def ready(self) -> None:
        from vms.selectors import backups, disk_exports, guests, quota, snapshots, volumes  # noqa: F401  (whose events are whose; counts what tenants hold)
        from vms.services import ending, exports, reactions  # noqa: F401  (a tenant's end, its data, its suspension)
        from vms.services.backups import kinds as backup_kinds  # noqa: F401  (declares the kinds of operations on backups)
        from vms.services.disk_exports import kinds as export_kinds  # noqa: F401  (that of disks as files)
        from vms.services.guests import kinds  # noqa: F401  (declares the kinds of operations)
        from vms.services.putback import kinds as putback_kinds  # noqa: F401  (the one that goes back to a backup)
        from vms.services.snapshots import kinds as snapshot_kinds  # noqa: F401  (those on snapshots)
        from vms.services.volumes import kinds as volume_kinds  # noqa: F401  (those on volumes)
