"""Whether a machine counts as running stands on its row, so that one that is asked to stop counts until it has."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """A column that the database fills where older code knows nothing of it."""

    dependencies = [("vms", "0003_quota_of_new_resources")]
    operations = [
        migrations.AddField(
            model_name="guest", name="charged_running", field=models.BooleanField(db_default=False, default=False)
        ),
    ]
