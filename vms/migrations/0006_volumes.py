"""Volumes have a life of their own: limits, boot order, what becomes of them with their guest, and of their bytes."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the database fills where older code knows nothing of them."""

    dependencies = [("vms", "0005_guests_that_count_as_running")]
    operations = [
        migrations.AddField(
            model_name="storageclass",
            name="scrub",
            field=models.CharField(
                choices=[("none", "None"), ("zero", "Zero")], db_default="none", default="none", max_length=4
            ),
        ),
        migrations.AddField(
            model_name="storageclass", name="iops", field=models.PositiveIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="storageclass", name="mbps", field=models.PositiveIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="volume", name="delete_with_guest", field=models.BooleanField(db_default=False, default=False)
        ),
        migrations.AddField(
            model_name="volume", name="boot_order", field=models.PositiveSmallIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="volume", name="iops", field=models.PositiveIntegerField(db_default=0, default=0)
        ),
        migrations.AddField(
            model_name="volume", name="mbps", field=models.PositiveIntegerField(db_default=0, default=0)
        ),
    ]
