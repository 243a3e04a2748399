"""Backups from before something of their project went back to a snapshot are no basis: until now operations were asked."""

from django.db import migrations
from django.db.models import Max


def outdate(apps, schema_editor):
    reverts = apps.get_model("operations", "Operation").objects.filter(
        kind="snapshot.revert", started_at__isnull=False, tenant__isnull=False
    )
    backups = apps.get_model("vms", "Backup").objects
    for tenant, last in reverts.order_by().values_list("tenant").annotate(last=Max("created_at")):
        backups.filter(tenant=tenant, created_at__lte=last).exclude(checkpoint="").update(checkpoint="")


class Migration(migrations.Migration):
    """Not undone: the next backup of each reads all, and is a basis again."""

    dependencies = [
        ("operations", "0004_operation_goes_through"),
        ("vms", "0037_disk_exports"),
    ]

    operations = [migrations.RunPython(outdate, migrations.RunPython.noop)]
