from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vms', '0035_guest_start_order'),
    ]

    operations = [
        migrations.AddField(
            model_name='backupdisk',
            name='known_as',
            field=models.CharField(blank=True, db_default='', default='', max_length=20),
        ),
        migrations.AddField(
            model_name='volume',
            name='known_as',
            field=models.CharField(blank=True, db_default='', default='', max_length=20),
        ),
    ]
