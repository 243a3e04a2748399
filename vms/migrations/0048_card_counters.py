import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models

import portal.core.ids


class Migration(migrations.Migration):
    """What cards carry is counted. Those that are there already have no row: they are counted from their first look on."""

    dependencies = [
        ("tenants", "0022_usage_counts"),
        ("vms", "0047_card_limits"),
    ]

    operations = [
        migrations.CreateModel(
            name="CardCounter",
            fields=[
                (
                    "id",
                    models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("in_bytes", models.PositiveBigIntegerField(default=0)),
                ("out_bytes", models.PositiveBigIntegerField(default=0)),
                ("since", models.DateTimeField(default=django.utils.timezone.now)),
                ("run", models.CharField(default="", max_length=80)),
                ("cpu_ns", models.BigIntegerField(null=True)),
                ("in_raw", models.PositiveBigIntegerField(default=0)),
                ("out_raw", models.PositiveBigIntegerField(default=0)),
                ("read_at", models.DateTimeField(null=True)),
                ("is_closed", models.BooleanField(default=False)),
                ("unread_ends", models.PositiveIntegerField(default=0)),
                (
                    "port",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE, related_name="counter", to="vms.port"
                    ),
                ),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
                    ),
                ),
            ],
        ),
    ]
