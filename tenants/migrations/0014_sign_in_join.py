"""Who was let in by a domain is kept in a row of its own, not found in a log that ends."""

import django.utils.timezone
from django.db import migrations, models

import portal.core.ids


class Migration(migrations.Migration):
    """Adds a table that older code does not look at."""

    dependencies = [("tenants", "0013_letter_invites")]
    operations = [
        migrations.CreateModel(
            "SignInJoin",
            [
                (
                    "id",
                    models.UUIDField(primary_key=True, default=portal.core.ids.uuid7, editable=False, serialize=False),
                ),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("tenant", models.ForeignKey("tenants.tenant", models.PROTECT, related_name="+")),
                ("user", models.ForeignKey("tenants.user", models.PROTECT, related_name="+")),
            ],
            options={"constraints": [models.UniqueConstraint("tenant", "user", name="sign_in_join_once")]},
        ),
    ]
