"""A request for quota says until when it is wanted, and keeps what was given of it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that may be empty: safe while older code runs."""

    dependencies = [("tenants", "0007_tenant_ends")]
    operations = [
        migrations.AddField("quotarequest", "wanted_until", models.DateTimeField(null=True)),
        migrations.AddField("quotarequest", "given", models.JSONField(null=True)),
    ]
