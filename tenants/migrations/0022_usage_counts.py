import django.db.models.deletion
from django.db import migrations, models

import portal.core.ids


class Migration(migrations.Migration):
    """What is counted as it happens, hour by hour, beside what is held from when to when."""

    dependencies = [
        ("tenants", "0021_usage_never_overlaps"),
    ]

    operations = [
        migrations.CreateModel(
            name="UsageCount",
            fields=[
                (
                    "id",
                    models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("resource_type", models.CharField(max_length=32)),
                ("resource_id", models.UUIDField()),
                ("meter", models.CharField(max_length=40)),
                ("quantity", models.PositiveBigIntegerField()),
                ("attributes", models.JSONField(default=dict)),
                ("starts_at", models.DateTimeField()),
                (
                    "tenant",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="tenants.tenant"
                    ),
                ),
            ],
            options={
                "indexes": [models.Index(fields=["tenant", "starts_at"], name="usage_count_by_hour")],
                "constraints": [
                    models.UniqueConstraint(
                        fields=["resource_id", "meter", "starts_at"], name="usage_count_once_an_hour"
                    )
                ],
            },
        ),
    ]
