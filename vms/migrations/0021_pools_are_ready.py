"""The pools there are were prepared when their hosts were tested: volumes may be put there."""

from django.db import migrations
from django.db.models.functions import Now


def ready(apps, schema_editor):
    apps.get_model("vms", "StoragePool").objects.filter(ready_at=None).update(ready_at=Now())


class Migration(migrations.Migration):
    """Undone by nothing: the column goes with the migration before."""

    dependencies = [
        ("vms", "0020_pool_kinds"),
    ]

    operations = [migrations.RunPython(ready, migrations.RunPython.noop)]
