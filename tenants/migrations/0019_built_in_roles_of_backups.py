"""The built-in roles with the permissions that backups brought."""

from importlib import import_module

from django.db import migrations

write_roles = import_module("tenants.migrations.0002_built_in_roles").write_roles


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, since members point at them."""

    dependencies = [("tenants", "0018_built_in_roles_of_snapshots")]
    operations = [migrations.RunPython(write_roles, migrations.RunPython.noop)]
