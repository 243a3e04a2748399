from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0002_initial'),
    ]

    operations = [
        migrations.AddField(
            model_name='operation',
            name='long',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
