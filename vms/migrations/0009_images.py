"""Images are a tenant's own, too: what they take, what they need, where their copies lie, and what is being uploaded."""

import django.db.models.deletion
import django.utils.timezone
import portal.core.ids
import vms.states
from django.db import migrations, models


class Migration(migrations.Migration):
    """New columns that the database fills where older code knows nothing of them."""

    dependencies = [
        ('tenants', '0017_built_in_roles_of_storage'),
        ('vms', '0008_metricpoint'),
    ]

    operations = [
        migrations.CreateModel(
            name='ImageCopy',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('name', models.CharField(max_length=64)),
                ('size', models.PositiveBigIntegerField(default=0)),
                ('ready_at', models.DateTimeField(null=True)),
                ('used_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ['host', 'name'],
            },
        ),
        migrations.CreateModel(
            name='ImageUpload',
            fields=[
                ('id', models.UUIDField(default=portal.core.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('size', models.PositiveBigIntegerField()),
                ('received', models.PositiveBigIntegerField(default=0)),
                ('sha256', models.CharField(blank=True, max_length=64)),
                ('format', models.CharField(max_length=8)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('touched_at', models.DateTimeField(default=django.utils.timezone.now)),
            ],
            options={
                'ordering': ['-created_at'],
            },
        ),
        migrations.RemoveConstraint(
            model_name='image',
            name='image_state_known',
        ),
        migrations.AddField(
            model_name='image',
            name='charged_gib',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='image',
            name='init',
            field=models.CharField(db_default='cloud-init', default=vms.states.Init['CLOUD_INIT'], max_length=16),
        ),
        migrations.AddField(
            model_name='image',
            name='least_disk_gib',
            field=models.PositiveIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name='image',
            name='replacement',
            field=models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='+', to='vms.image'),
        ),
        migrations.AddConstraint(
            model_name='image',
            constraint=models.CheckConstraint(condition=models.Q(('state__in', ['uploading', 'importing', 'ready', 'failed', 'deprecated', 'deleting'])), name='image_state_known'),
        ),
        migrations.AddField(
            model_name='imagecopy',
            name='host',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='image_copies', to='vms.host'),
        ),
        migrations.AddField(
            model_name='imagecopy',
            name='image',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='copies', to='vms.image'),
        ),
        migrations.AddField(
            model_name='imageupload',
            name='image',
            field=models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, related_name='upload', to='vms.image'),
        ),
        migrations.AddField(
            model_name='imageupload',
            name='tenant',
            field=models.ForeignKey(on_delete=django.db.models.deletion.PROTECT, related_name='+', to='tenants.tenant'),
        ),
        migrations.AddConstraint(
            model_name='imagecopy',
            constraint=models.UniqueConstraint(models.F('host'), models.F('name'), name='image_copy_once_a_host'),
        ),
        migrations.AddConstraint(
            model_name='imageupload',
            constraint=models.CheckConstraint(condition=models.Q(('received__lte', models.F('size'))), name='upload_received_at_most'),
        ),
    ]
