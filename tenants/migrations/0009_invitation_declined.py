"""An invitation can be declined by whoever was invited."""

from django.db import migrations, models
from django.db.models import Q


class Migration(migrations.Migration):
    """The database itself says False, so that older code may go on inserting; one declined is over for it, too."""

    dependencies = [("tenants", "0008_quota_request_wishes")]
    operations = [
        migrations.AddField("invitation", "declined", models.BooleanField(default=False, db_default=False)),
        migrations.AddConstraint(
            "invitation",
            models.CheckConstraint(
                condition=Q(declined=False) | Q(revoked_at__isnull=False), name="invitation_declined_is_over"
            ),
        ),
    ]
