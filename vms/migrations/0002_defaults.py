"""One pool of hosts and one storage class, so that the first host and the first disk have a place."""

from django.db import migrations

from portal.core.ids import uuid7


def write_defaults(apps, schema_editor):
    """Make the default rows where there are none."""
    pools = apps.get_model("vms", "HostPool").objects
    if not pools.exists():
        pools.create(id=uuid7(), name="default")
    classes = apps.get_model("vms", "StorageClass").objects
    if not classes.exists():
        classes.create(id=uuid7(), name="standard", is_default=True)


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, since hosts and volumes point at them."""

    dependencies = [("vms", "0001_initial")]
    operations = [migrations.RunPython(write_defaults, migrations.RunPython.noop)]
