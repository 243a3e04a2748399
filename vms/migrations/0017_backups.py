"""Stores, a repository a tenant, backups of machines, and volumes that are made of them."""

import django.db.models.deletion
import django.utils.timezone
import portal.core.ids
import portal.core.sealed
import vms.states
from django.db import migrations, models


class Migration(migrations.Migration):
    """New tables, and a column that may be empty."""

    dependencies = [
        ('tenants', '0017_built_in_roles_of_storage'),
        ('vms', '0016_quota_of_snapshots'),
    ]

    operations = [
        migrations.CreateModel(
            name='BackupStore',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=40, unique=True)),
                ('kind', models.CharField(choices=[('folder', 'Folder'), ('s3', 'S3')], max_length=8)),
                ('location', models.CharField(max_length=255)),
                ('access_key', portal.core.sealed.SealedTextField(blank=True, default='')),
                ('secret_key', portal.core.sealed.SealedTextField(blank=True, default='')),
                ('enabled', models.BooleanField(default=True)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
        ),
        migrations.CreateModel(
            name='Backup',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=63)),
                ('guest_name', models.CharField(max_length=63)),
                ('state', models.CharField(default=vms.states.BackupState['CREATING'], max_length=10)),
                ('snapshot', models.CharField(blank=True, default='', max_length=64)),
                ('checkpoint', models.CharField(blank=True, default='', max_length=64)),
                ('changed_only', models.BooleanField(default=False)),
                ('why_full', models.CharField(blank=True, default='', max_length=24)),
                ('frozen', models.BooleanField(default=False)),
                ('read_bytes', models.PositiveBigIntegerField(default=0)),
                ('added_bytes', models.PositiveBigIntegerField(default=0)),
                ('reserved_gib', models.PositiveIntegerField(default=0)),
                ('problem', models.TextField(blank=True, default='')),
                ('verified_at', models.DateTimeField(null=True)),
                ('verified', models.BooleanField(default=False)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('flavor', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='vms.flavor')),
                ('guest', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='backups', to='vms.guest')),
                ('image', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='vms.image')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.CreateModel(
            name='BackupDisk',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('position', models.PositiveSmallIntegerField()),
                ('name', models.CharField(max_length=64)),
                ('size_gib', models.PositiveIntegerField()),
                ('backup', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='disks', to='vms.backup')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('volume', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='vms.volume')),
            ],
            options={
                'ordering': ['position'],
            },
        ),
        migrations.AddField(
            model_name='volume',
            name='source',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='vms.backupdisk'),
        ),
        migrations.CreateModel(
            name='BackupRepository',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('password', portal.core.sealed.SealedTextField()),
                ('made_at', models.DateTimeField(null=True)),
                ('size', models.PositiveBigIntegerField(default=0)),
                ('charged_gib', models.PositiveIntegerField(default=0)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('store', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='repositories', to='vms.backupstore')),
            ],
        ),
        migrations.AddField(
            model_name='backup',
            name='repository',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='backups', to='vms.backuprepository'),
        ),
        migrations.AddConstraint(
            model_name='backupdisk',
            constraint=models.UniqueConstraint(models.F('backup'), models.F('position'), name='backup_disk_once'),
        ),
        migrations.AddIndex(
            model_name='backup',
            index=models.Index(fields=['tenant', '-created_at', '-id'], name='backup_by_age'),
        ),
        migrations.AddConstraint(
            model_name='backup',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['creating', 'ready', 'deleting', 'error'])), name='backup_state_known'),
        ),
        migrations.AddConstraint(
            model_name='backup',
            constraint=models.CheckConstraint(condition=models.Q(models.Q(('state', vms.states.BackupState['READY']), _negated=True), models.Q(('snapshot', ''), _negated=True), _connector='OR'), name='backup_ready_is_in_store'),
        ),
        migrations.AddConstraint(
            model_name='backuprepository',
            constraint=models.UniqueConstraint(models.F('tenant'), name='backup_repository_one_a_tenant'),
        ),
    ]
