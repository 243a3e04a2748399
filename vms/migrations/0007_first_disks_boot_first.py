"""The disks that machines were made with are booted from, as they were before there was an order."""

from django.db import migrations


def write_order(apps, schema_editor):
    """Safe to repeat."""
    apps.get_model("vms", "Volume")._base_manager.filter(guest__isnull=False, position=0).update(boot_order=1)


class Migration(migrations.Migration):
    """Data only; undoing leaves the column, which the migration before this one drops."""

    dependencies = [("vms", "0006_volumes")]
    operations = [migrations.RunPython(write_order, migrations.RunPython.noop)]
