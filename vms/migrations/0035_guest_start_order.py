from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('vms', '0034_backup_turn_waits_until'),
    ]

    operations = [
        migrations.AddField(
            model_name='guest',
            name='start_order',
            field=models.PositiveSmallIntegerField(null=True),
        ),
        migrations.AddField(
            model_name='guest',
            name='start_delay_s',
            field=models.PositiveSmallIntegerField(db_default=0, default=0),
        ),
        migrations.AddIndex(
            model_name='guest',
            index=models.Index(condition=models.Q(('seen_power', 'stopped'), ('seen_reason', 'off_since_boot'), ('want_power', 'running')), fields=['tenant'], name='guest_lost'),
        ),
        migrations.AddConstraint(
            model_name='guest',
            constraint=models.CheckConstraint(condition=models.Q(('start_order', None), ('start_order__gte', 1), _connector='OR'), name='guest_start_order_from_1'),
        ),
    ]
