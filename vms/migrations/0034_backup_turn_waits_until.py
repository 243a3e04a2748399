from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vms', '0033_backup_since_full'),
    ]

    operations = [
        migrations.AddField(
            model_name='backupturn',
            name='waits_until',
            field=models.DateTimeField(null=True),
        ),
    ]
