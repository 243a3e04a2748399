"""Machines have disks for a while: a fresh one to be rebuilt on, one to be rescued from."""

import django.db.models.deletion
import portal.core.ids
from django.db import migrations, models


class Migration(migrations.Migration):
    """A table, and a column that the database fills where older code knows nothing of it."""

    dependencies = [
        ('tenants', '0017_built_in_roles_of_storage'),
        ('vms', '0011_guest_next_size'),
    ]

    operations = [
        migrations.AddField(
            model_name='guest',
            name='in_rescue',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.CreateModel(
            name='Spare',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('role', models.CharField(choices=[('fresh', 'Fresh'), ('worn', 'Worn'), ('rescue', 'Rescue')], max_length=8)),
                ('size_gib', models.PositiveIntegerField()),
                ('guest', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='spares', to='vms.guest')),
                ('image', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='vms.image')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'constraints': [models.UniqueConstraint(models.F('guest'), models.F('role'), name='spare_one_a_role')],
            },
        ),
    ]
