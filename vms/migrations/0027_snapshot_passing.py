from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("vms", "0026_volume_snapshot_disk"),
    ]

    operations = [
        migrations.AddField(
            model_name="snapshot",
            name="passing",
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
