"""What the machines of the backups that are there are built of: until now a restored one took it from its image."""

from django.db import migrations

HARDWARE = ("firmware", "secure_boot", "tpm", "disk_bus", "nic_model")


def take(apps, schema_editor):
    for backup in apps.get_model("vms", "Backup").objects.select_related("guest", "image").iterator():
        built = backup.guest or backup.image
        for name in HARDWARE:
            setattr(backup, name, getattr(built, name))
        backup.save(update_fields=HARDWARE)


class Migration(migrations.Migration):
    """Undone by nothing: the columns go with the migration before."""

    dependencies = [
        ("vms", "0024_hardware_of_backups"),
    ]

    operations = [migrations.RunPython(take, migrations.RunPython.noop)]
