import django.db.models.deletion
import django.utils.timezone
import portal.core.ids
import vms.states
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0019_built_in_roles_of_backups'),
        ('vms', '0036_serials_move'),
    ]

    operations = [
        migrations.CreateModel(
            name='DiskExport',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=63)),
                ('guest_name', models.CharField(blank=True, max_length=63)),
                ('position', models.PositiveSmallIntegerField(default=0)),
                ('size_gib', models.PositiveIntegerField()),
                ('state', models.CharField(default=vms.states.ExportState['MAKING'], max_length=8)),
                ('problem', models.TextField(blank=True)),
                ('size', models.PositiveBigIntegerField(default=0)),
                ('sha256', models.CharField(blank=True, max_length=64)),
                ('made_by', models.CharField(max_length=254)),
                ('expires_at', models.DateTimeField(null=True)),
                ('ended_at', models.DateTimeField(null=True)),
                ('version', models.PositiveIntegerField(default=1)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('guest', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='vms.guest')),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
                ('volume', models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='vms.volume')),
            ],
            options={
                'ordering': ['-created_at', '-id'],
                'indexes': [models.Index(fields=['tenant', '-created_at', '-id'], name='disk_export_by_age')],
                'constraints': [models.CheckConstraint(condition=models.Q(('state__in', ['making', 'ready', 'failed', 'expired'])), name='disk_export_state_known'), models.CheckConstraint(condition=models.Q(('expires_at__isnull', False), models.Q(('state', 'ready'), _negated=True), _connector='OR'), name='disk_export_expires')],
            },
        ),
    ]
