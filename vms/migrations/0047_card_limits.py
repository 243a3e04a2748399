from django.db import migrations, models


class Migration(migrations.Migration):
    """Cards have limits of their own; where none is set, their machine's size decides, as before."""

    dependencies = [
        ("vms", "0045_card_addresses"),
    ]

    operations = [
        migrations.AddField(
            model_name="port",
            name="in_mbit",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="port",
            name="out_mbit",
            field=models.PositiveIntegerField(default=0),
        ),
        migrations.AddField(
            model_name="port",
            name="above_size",
            field=models.BooleanField(default=False),
        ),
    ]
