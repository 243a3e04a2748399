"""An invitation that a token sent is known for it."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Adds a nullable column: older code may go on inserting, and what it sends in the meantime ends within a week."""

    dependencies = [("tenants", "0011_token_made_with")]
    operations = [
        migrations.AddField(
            "invitation",
            "sent_with",
            models.ForeignKey("tenants.apitoken", models.CASCADE, null=True, related_name="+"),
        ),
    ]
