"""A backup says what its machine was built of."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """New columns with what most machines are built of."""

    dependencies = [
        ('vms', '0023_backup_schedules'),
    ]

    operations = [
        migrations.AddField(
            model_name='backup',
            name='disk_bus',
            field=models.CharField(choices=[('virtio', 'Virtio'), ('scsi', 'Scsi'), ('sata', 'Sata')], db_default='virtio', default='virtio', max_length=8),
        ),
        migrations.AddField(
            model_name='backup',
            name='firmware',
            field=models.CharField(db_default='bios', default='bios', max_length=8),
        ),
        migrations.AddField(
            model_name='backup',
            name='nic_model',
            field=models.CharField(choices=[('virtio', 'Virtio'), ('e1000e', 'E1000E')], db_default='virtio', default='virtio', max_length=8),
        ),
        migrations.AddField(
            model_name='backup',
            name='secure_boot',
            field=models.BooleanField(db_default=False, default=False),
        ),
        migrations.AddField(
            model_name='backup',
            name='tpm',
            field=models.BooleanField(db_default=False, default=False),
        ),
    ]
