import django.db.models.deletion
import portal.core.ids
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('tenants', '0019_built_in_roles_of_backups'),
        ('vms', '0040_ranges_never_overlap'),
    ]

    operations = [
        migrations.CreateModel(
            name='AddressUse',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('ip', models.GenericIPAddressField()),
                ('mac', models.CharField(max_length=17)),
                ('port_id', models.UUIDField()),
                ('guest_id', models.UUIDField(db_index=True)),
                ('guest_name', models.CharField(max_length=63)),
                ('network_id', models.UUIDField()),
                ('network_name', models.CharField(max_length=40)),
                ('since', models.DateTimeField()),
                ('until', models.DateTimeField(null=True)),
                ('tenant', models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant')),
            ],
            options={
                'ordering': ['-since', '-id'],
                'indexes': [models.Index(models.F('ip'), models.F('since'), name='address_use_by_ip')],
                'constraints': [models.UniqueConstraint(models.F('ip'), condition=models.Q(('until', None)), name='address_one_open_use'), models.CheckConstraint(condition=models.Q(('until', None), ('until__gte', models.F('since')), _connector='OR'), name='address_use_ends_after_start')],
            },
        ),
    ]
