from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('operations', '0003_operation_long'),
    ]

    operations = [
        migrations.AddField(
            model_name='operation',
            name='goes_through',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
