"""What operators say of a storage class: what it is made of, whether it is offered; one is the default."""

import django.core.validators
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the database fills where older code knows nothing of them, and the rule that older code kept by itself."""

    dependencies = [
        ('vms', '0018_hardware'),
    ]

    operations = [
        migrations.AddField(
            model_name='storageclass',
            name='enabled',
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name='storageclass',
            name='media',
            field=models.CharField(blank=True, choices=[('', 'None'), ('hdd', 'Hdd'), ('ssd', 'Ssd'), ('nvme', 'Nvme')], db_default='', default='', max_length=4),
        ),
        migrations.AddField(
            model_name='storageclass',
            name='version',
            field=models.PositiveIntegerField(db_default=1, default=1),
        ),
        migrations.AlterField(
            model_name='storageclass',
            name='name',
            field=models.CharField(max_length=40, unique=True, validators=[django.core.validators.RegexValidator('\\A[a-z0-9][a-z0-9.-]{0,39}\\Z')]),
        ),
        migrations.AlterField(
            model_name='storagepool',
            name='kind',
            field=models.CharField(choices=[('dir', 'Directory')], default='dir', max_length=12),
        ),
        migrations.AddConstraint(
            model_name='storageclass',
            constraint=models.UniqueConstraint(models.F('is_default'), condition=models.Q(('is_default', True)), name='storage_class_one_default'),
        ),
    ]
