"""Storage pools of several kinds: where they come from, whether they take volumes, what our volumes there take."""

from django.db import migrations, models


class Migration(migrations.Migration):
    """Columns that the database fills where older code knows nothing of them."""

    dependencies = [
        ('vms', '0019_storage_classes'),
    ]

    operations = [
        migrations.AddField(
            model_name='storagepool',
            name='account',
            field=models.CharField(blank=True, db_default='', default='', max_length=63),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='enabled',
            field=models.BooleanField(db_default=True, default=True),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='problem',
            field=models.TextField(blank=True, db_default='', default=''),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='ready_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='secret',
            field=models.CharField(blank=True, db_default='', default='', max_length=36),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='servers',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='share',
            field=models.CharField(blank=True, db_default='', default='', max_length=31),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='source',
            field=models.CharField(blank=True, db_default='', default='', max_length=255),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='version',
            field=models.PositiveIntegerField(db_default=1, default=1),
        ),
        migrations.AddField(
            model_name='storagepool',
            name='written',
            field=models.PositiveBigIntegerField(db_default=0, default=0),
        ),
        migrations.AlterField(
            model_name='storagepool',
            name='kind',
            field=models.CharField(choices=[('dir', 'Directory'), ('shared', 'Directory that hosts share'), ('nfs', 'NFS export'), ('lvm', 'Volume group (LVM)'), ('rbd', 'Ceph pool')], default='dir', max_length=12),
        ),
        migrations.AlterField(
            model_name='storagepool',
            name='path',
            field=models.CharField(blank=True, max_length=255),
        ),
    ]
