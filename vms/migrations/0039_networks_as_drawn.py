from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("vms", "0038_marks_of_reverted_disks"),
    ]

    operations = [
        migrations.AddField(
            model_name="network",
            name="description",
            field=models.CharField(default="", max_length=200),
        ),
        migrations.AddField(
            model_name="network",
            name="domain",
            field=models.CharField(default="", max_length=120),
        ),
        migrations.AddField(
            model_name="network",
            name="mtu",
            field=models.PositiveIntegerField(default=1500),
        ),
        migrations.AddField(
            model_name="network",
            name="drawing",
            field=models.PositiveIntegerField(default=1),
        ),
        # What is on a host already is there as it is drawn; what comes later is not until somebody has made it.
        migrations.AddField(
            model_name="networkonhost",
            name="drawing",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AlterField(
            model_name="networkonhost",
            name="drawing",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="subnet",
            name="dns",
            field=models.JSONField(default=list),
        ),
        migrations.AddField(
            model_name="subnet",
            name="first",
            field=models.GenericIPAddressField(null=True),
        ),
        migrations.AddField(
            model_name="subnet",
            name="last",
            field=models.GenericIPAddressField(null=True),
        ),
        migrations.AddField(
            model_name="subnet",
            name="routes",
            field=models.JSONField(default=list),
        ),
    ]
