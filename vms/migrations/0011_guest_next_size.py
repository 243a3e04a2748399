"""A machine may have a size to come, which it takes when it is next off."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that older code leaves empty."""

    dependencies = [("vms", "0010_quota_of_images")]
    operations = [
        migrations.AddField(
            model_name="guest",
            name="next_flavor",
            field=models.ForeignKey(
                null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="vms.flavor"
            ),
        ),
        migrations.AddField(
            model_name="guest", name="next_vcpus", field=models.PositiveSmallIntegerField(null=True)
        ),
        migrations.AddField(model_name="guest", name="next_memory_mib", field=models.PositiveIntegerField(null=True)),
    ]
