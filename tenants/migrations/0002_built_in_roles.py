"""The five roles every installation has, as rows."""

from django.db import migrations

from portal.core.ids import uuid7
from tenants.policy import BUILT_IN_ROLES


def write_roles(apps, schema_editor):
    """Make or refresh the built-in roles."""
    roles = apps.get_model("tenants", "Role")._base_manager
    for name, permissions in BUILT_IN_ROLES.items():
        values = sorted(p.value for p in permissions)
        if not roles.filter(tenant=None, name=name).update(permissions=values):
            roles.create(id=uuid7(), tenant=None, name=name, permissions=values)


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, since members point at them."""

    dependencies = [("tenants", "0001_initial")]
    operations = [migrations.RunPython(write_roles, migrations.RunPython.noop)]
