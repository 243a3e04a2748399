"""Tenants made before a machine's snapshots had a limit get a row for it that sets none."""

from django.db import migrations

from portal.core.ids import uuid7

RESOURCE = "guest_snapshots"


def write_rows(apps, schema_editor):
    """A limit that nobody has set would refuse what was allowed yesterday. Safe to repeat."""
    quotas = apps.get_model("tenants", "Quota")
    known = set(quotas.objects.filter(resource=RESOURCE).values_list("tenant_id", flat=True))
    tenants = apps.get_model("tenants", "Tenant").objects.values_list("pk", flat=True)
    quotas.objects.bulk_create(quotas(id=uuid7(), tenant_id=pk, resource=RESOURCE) for pk in tenants if pk not in known)


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, which older code does not look at."""

    dependencies = [("vms", "0015_snapshots"), ("tenants", "0003_tenancy")]
    operations = [migrations.RunPython(write_rows, migrations.RunPython.noop)]
