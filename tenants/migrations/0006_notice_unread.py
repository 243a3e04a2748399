"""The bell of every page counts what its reader has not read."""

from __future__ import annotations

from django.db import migrations, models


class Migration(migrations.Migration):
    """One more index."""

    dependencies = [("tenants", "0005_built_in_roles_of_tenancy")]

    operations = [
        migrations.AddIndex(
            model_name="notice",
            index=models.Index(condition=models.Q(("read_at", None)), fields=["user"], name="notice_unread"),
        ),
    ]
