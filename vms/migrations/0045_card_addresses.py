from django.db import migrations, models


class Migration(migrations.Migration):
    """Cards are edited, so they have a version; the addresses that a network's cards hold are found without the past ones."""

    dependencies = [
        ("vms", "0044_security_groups"),
    ]

    operations = [
        migrations.AddField(
            model_name="port",
            name="version",
            field=models.PositiveIntegerField(default=1),
        ),
        migrations.AddIndex(
            model_name="addressuse",
            index=models.Index(models.F("network_id"), condition=models.Q(until=None), name="address_use_open_on"),
        ),
    ]
