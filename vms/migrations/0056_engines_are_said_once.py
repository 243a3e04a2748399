"""What carries a network follows from its hosts' pool. The columns stay for code that still writes them; a later release drops them."""

from django.db import migrations, models


def goes_on_unwritten(model: str) -> list[migrations.operations.base.Operation]:
    """The column fills itself, and is no field any more."""
    field = models.CharField(default='libvirt', db_default='libvirt', max_length=12)
    return [
        migrations.AlterField(model_name=model, name='engine', field=field),
        migrations.SeparateDatabaseAndState(
            state_operations=[migrations.RemoveField(model_name=model, name='engine')]
        ),
    ]


class Migration(migrations.Migration):

    dependencies = [
        ('vms', '0055_fabrics'),
    ]

    operations = [*goes_on_unwritten('hostpool'), *goes_on_unwritten('network')]
