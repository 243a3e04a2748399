"""What the counters of running machines hold by implication, every machine that is wanted on, stands on the rows."""

from django.db import migrations


def write_charged(apps, schema_editor):
    """As the counters have it; the next look at each host does the rest. Safe to repeat."""
    guests = apps.get_model("vms", "Guest").objects
    guests.filter(want_power__in=["running", "paused"], binned_at=None).update(charged_running=True)


class Migration(migrations.Migration):
    """Data only; undoing leaves the column, which the migration before this one drops."""

    dependencies = [("vms", "0004_guest_charged_running")]
    operations = [migrations.RunPython(write_charged, migrations.RunPython.noop)]
