"""Letters that invite are counted by the address they go to."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """The database itself says False, so that older code may go on inserting: what it sends meanwhile is not counted."""

    dependencies = [("tenants", "0012_invitation_sent_with")]
    operations = [
        migrations.AddField("letter", "invites", models.BooleanField(default=False, db_default=False)),
        migrations.AddIndex(
            "letter",
            models.Index(fields=["to", "created_at"], condition=models.Q(invites=True), name="letter_invites"),
        ),
    ]
