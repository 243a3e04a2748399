"""Backups by the clock: schedules, their turns, and backups that say whose they are."""

import django.db.models.deletion
import django.utils.timezone
import portal.core.ids
import vms.states
from django.db import migrations, models


class Migration(migrations.Migration):
    """New tables, and columns that may be empty."""

    dependencies = [
        ('tenants', '0019_built_in_roles_of_backups'),
        ('vms', '0022_guests_by_power'),
    ]

    operations = [
        migrations.CreateModel(
            name='BackupTurn',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('slot', models.DateTimeField()),
                ('due_at', models.DateTimeField()),
                ('state', models.CharField(default=vms.states.TurnState['WAITING'], max_length=8)),
                ('code', models.CharField(blank=True, default='', max_length=40)),
            ],
            options={
                'ordering': ['-slot', 'pk'],
            },
        ),
        migrations.AddField(
            model_name='backup',
            name='slot',
            field=models.DateTimeField(null=True),
        ),
        migrations.CreateModel(
            name='BackupSchedule',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=63)),
                ('every', models.CharField(choices=[('hourly', 'Every hour'), ('daily', 'Every day'), ('weekly', 'Every Sunday'), ('monthly', 'On the first of every month'), ('cron', 'By a cron line')], max_length=8)),
                ('cron', models.CharField(max_length=100)),
                ('timezone', models.CharField(max_length=64)),
                ('window_minutes', models.PositiveSmallIntegerField(default=0)),
                ('full_every', models.PositiveSmallIntegerField(default=0)),
                ('keep_last', models.PositiveSmallIntegerField(default=0)),
                ('keep_hourly', models.PositiveSmallIntegerField(default=0)),
                ('keep_daily', models.PositiveSmallIntegerField(default=0)),
                ('keep_weekly', models.PositiveSmallIntegerField(default=0)),
                ('keep_monthly', models.PositiveSmallIntegerField(default=0)),
                ('tags', models.JSONField(default=list)),
                ('enabled', models.BooleanField(default=True)),
                ('next_at', models.DateTimeField(db_index=True, null=True)),
                ('last_at', models.DateTimeField(null=True)),
                ('failing', models.BooleanField(default=False)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('guests', models.ManyToManyField(related_name='backup_schedules', to='vms.guest')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['name'],
            },
        ),
        migrations.AddField(
            model_name='backup',
            name='schedule',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='backups', to='vms.backupschedule'),
        ),
        migrations.AddConstraint(
            model_name='backup',
            constraint=models.UniqueConstraint(models.F('schedule'), models.F('guest'), models.F('slot'), name='backup_once_a_slot'),
        ),
        migrations.AddField(
            model_name='backupturn',
            name='guest',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to='vms.guest'),
        ),
        migrations.AddField(
            model_name='backupturn',
            name='schedule',
            field=models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='turns', to='vms.backupschedule'),
        ),
        migrations.AddField(
            model_name='backupturn',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant'),
        ),
        migrations.AddConstraint(
            model_name='backupschedule',
            constraint=models.UniqueConstraint(models.F('tenant'), models.F('name'), name='backup_schedule_name_once'),
        ),
        migrations.AddConstraint(
            model_name='backupschedule',
            constraint=models.CheckConstraint(condition=models.Q(('enabled', True), ('next_at', None), _connector='OR'), name='backup_schedule_off_is_never_due'),
        ),
        migrations.AddIndex(
            model_name='backupturn',
            index=models.Index(fields=['state', 'due_at'], name='backup_turn_due'),
        ),
        migrations.AddConstraint(
            model_name='backupturn',
            constraint=models.UniqueConstraint(models.F('schedule'), models.F('guest'), models.F('slot'), name='backup_turn_once'),
        ),
        migrations.AddConstraint(
            model_name='backupturn',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['waiting', 'asked', 'made', 'done', 'passed', 'failed'])), name='backup_turn_state_known'),
        ),
    ]
