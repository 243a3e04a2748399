"""What tells a machine that its host took along from one that somebody shut down."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("vms", "0042_address_uses_never_overlap")]

    operations = [
        migrations.AddField(model_name="guest", name="yielded_at", field=models.DateTimeField(null=True)),
        migrations.AddField(
            model_name="host", name="up_s", field=models.PositiveIntegerField(blank=True, null=True)
        ),
    ]
