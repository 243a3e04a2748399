"""What a machine is built of is said of its image: Secure Boot, TPM, bus and cards; and an image may be a CD."""

import django.db.models.deletion
import vms.states
from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the database fills where older code knows nothing of them; every machine stays as it is built."""

    dependencies = [
        ('tenants', '0017_built_in_roles_of_storage'),
        ('vms', '0017_backups'),
    ]

    operations = [
        migrations.AddField(
            model_name='guest',
            name='disk_bus',
            field=models.CharField(choices=[('virtio', 'Virtio'), ('scsi', 'Scsi'), ('sata', 'Sata')], db_default='virtio', default='virtio', max_length=8),
        ),
        migrations.AddField(
            model_name='guest',
            name='drivers',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.PROTECT, related_name='+', to='vms.image'),
        ),
        migrations.AddField(
            model_name='guest',
            name='is_windows',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='guest',
            name='nic_model',
            field=models.CharField(choices=[('virtio', 'Virtio'), ('e1000e', 'E1000E')], db_default='virtio', default='virtio', max_length=8),
        ),
        migrations.AddField(
            model_name='guest',
            name='secure_boot',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='guest',
            name='tpm',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='image',
            name='disk_bus',
            field=models.CharField(choices=[('virtio', 'Virtio'), ('scsi', 'Scsi'), ('sata', 'Sata')], db_default='virtio', default='virtio', max_length=8),
        ),
        migrations.AddField(
            model_name='image',
            name='kind',
            field=models.CharField(db_default='disk', default=vms.states.ImageKind['DISK'], max_length=8),
        ),
        migrations.AddField(
            model_name='image',
            name='nic_model',
            field=models.CharField(choices=[('virtio', 'Virtio'), ('e1000e', 'E1000E')], db_default='virtio', default='virtio', max_length=8),
        ),
        migrations.AddField(
            model_name='image',
            name='secure_boot',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='image',
            name='tpm',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddConstraint(
            model_name='image',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['disk', 'iso', 'drivers'])), name='image_kind_known'),
        ),
    ]
