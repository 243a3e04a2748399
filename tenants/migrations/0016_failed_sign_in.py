"""Sign-ins that failed wait for a worker to look whose they were meant to be."""

import django.utils.timezone
from django.db import migrations, models

import portal.core.ids


class Migration(migrations.Migration):
    """A table of its own, that older code does not know."""

    dependencies = [("tenants", "0015_past_sign_in_joins")]
    operations = [
        migrations.CreateModel(
            name="FailedSignIn",
            fields=[
                (
                    "id",
                    models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False),
                ),
                ("email", models.CharField(max_length=254)),
                ("address", models.CharField(max_length=45)),
                ("request_id", models.CharField(max_length=40)),
                ("at", models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
    ]
