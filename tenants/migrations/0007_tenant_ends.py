"""Whether a suspended tenant's machines go on running, and whether only an operator may take it up again."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Both begin as what a suspension did until now: machines stop, an operator decides."""

    dependencies = [("tenants", "0006_notice_unread")]
    operations = [
        migrations.AddField("tenant", "keeps_guests", models.BooleanField(default=False)),
        migrations.AddField("tenant", "held", models.BooleanField(default=False)),
    ]
