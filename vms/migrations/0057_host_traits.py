from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ("vms", "0056_engines_are_said_once"),
    ]

    operations = [
        migrations.AddField(
            model_name="host",
            name="traits",
            field=models.JSONField(blank=True, null=True),
        ),
    ]
