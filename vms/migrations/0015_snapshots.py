"""Snapshots of machines and volumes, and the disks that hold them."""

import django.db.models.deletion
import django.utils.timezone
import portal.core.ids
import vms.states
from django.db import migrations, models


class Migration(migrations.Migration):
    """Two tables that older code knows nothing of."""

    dependencies = [
        ('tenants', '0018_built_in_roles_of_snapshots'),
        ('vms', '0014_power_schedules_and_leases'),
    ]

    operations = [
        migrations.CreateModel(
            name='Snapshot',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=63)),
                ('description', models.CharField(blank=True, max_length=255)),
                ('state', models.CharField(default=vms.states.SnapshotState['CREATING'], max_length=10)),
                ('with_memory', models.BooleanField(default=False)),
                ('consistency', models.CharField(blank=True, choices=[('off', 'Off'), ('frozen', 'Frozen'), ('power_cut', 'Power Cut'), ('memory', 'Memory')], max_length=10)),
                ('vcpus', models.PositiveSmallIntegerField(default=0)),
                ('memory_mib', models.PositiveIntegerField(default=0)),
                ('definition', models.TextField(blank=True)),
                ('problem', models.TextField(blank=True)),
                ('taken_at', models.DateTimeField(null=True)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('guest', models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='snapshots', to='vms.guest')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-created_at', '-id'],
            },
        ),
        migrations.CreateModel(
            name='SnapshotDisk',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('size_gib', models.PositiveIntegerField()),
                ('snapshot', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='disks', to='vms.snapshot')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('volume', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='kept_in', to='vms.volume')),
            ],
            options={
                'ordering': ['snapshot', 'position'],
            },
        ),
        migrations.AddIndex(
            model_name='snapshot',
            index=models.Index(fields=['tenant', '-created_at', '-id'], name='snapshot_by_age'),
        ),
        migrations.AddConstraint(
            model_name='snapshot',
            constraint=models.UniqueConstraint(models.F('guest'), models.F('name'), condition=models.Q(('guest', None), _negated=True), name='snapshot_name_once_a_guest'),
        ),
        migrations.AddConstraint(
            model_name='snapshot',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['creating', 'ready', 'reverting', 'deleting', 'error'])), name='snapshot_state_known'),
        ),
        migrations.AddConstraint(
            model_name='snapshotdisk',
            constraint=models.UniqueConstraint(models.F('snapshot'), models.F('volume'), name='snapshot_disk_once'),
        ),
    ]
