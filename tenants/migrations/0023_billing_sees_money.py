"""The built-in role of billing sees money, and no longer quota, audit log, events, operations and everybody's data."""

from importlib import import_module

from django.db import migrations

write_roles = import_module("tenants.migrations.0002_built_in_roles").write_roles


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, since members point at them."""

    dependencies = [("tenants", "0022_usage_counts")]
    operations = [migrations.RunPython(write_roles, migrations.RunPython.noop)]
