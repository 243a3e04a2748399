"""A token that another one made is known for it, and ends with it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a nullable column: older code may go on inserting. What was made before has no maker on record."""

    dependencies = [("tenants", "0010_audit_is_never_emptied")]
    operations = [
        migrations.AddField(
            "apitoken",
            "made_with",
            models.ForeignKey("tenants.apitoken", models.CASCADE, null=True, blank=True, related_name="+"),
        ),
    ]
