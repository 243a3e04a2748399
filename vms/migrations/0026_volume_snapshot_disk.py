from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("vms", "0025_hardware_that_backups_had"),
    ]

    operations = [
        migrations.AddField(
            model_name="volume",
            name="snapshot_disk",
            field=models.ForeignKey(
                null=True,
                on_delete=models.deletion.SET_NULL,
                related_name="+",
                to="vms.snapshotdisk",
            ),
        ),
    ]
