from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vms', '0032_volume_lists'),
    ]

    operations = [
        migrations.AddField(
            model_name='backup',
            name='since_full',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
    ]
