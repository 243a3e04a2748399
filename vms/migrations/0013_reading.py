"""What was last read of machines for their people, and a password on its way into one."""

import django.db.models.deletion
import django.utils.timezone
import portal.core.ids
import portal.core.sealed
from django.db import migrations, models


class Migration(migrations.Migration):
    """A table, and a column that the database fills where older code knows nothing of it."""

    dependencies = [
        ('tenants', '0017_built_in_roles_of_storage'),
        ('vms', '0012_spare'),
    ]

    operations = [
        migrations.AddField(
            model_name='guest',
            name='new_password',
            field=portal.core.sealed.SealedTextField(blank=True, db_default='', default=''),
        ),
        migrations.CreateModel(
            name='Reading',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('kind', models.CharField(choices=[('screen', 'Screen'), ('log', 'Log'), ('facts', 'Facts')], max_length=8)),
                ('content', models.BinaryField()),
                ('at', models.DateTimeField(default=django.utils.timezone.now)),
                ('guest', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='readings', to='vms.guest')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(models.F('guest'), models.F('kind'), name='reading_one_a_kind')],
            },
        ),
    ]
