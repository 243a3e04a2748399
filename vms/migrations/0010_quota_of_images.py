"""Tenants made before images' bytes were counted get a row for them, without a limit, that counts what is there."""

from collections import Counter

from django.db import migrations

from portal.core.ids import uuid7
from portal.core.units import GIB


def write_rows(apps, schema_editor):
    """A limit that nobody has set would refuse what was allowed yesterday. Safe to repeat."""
    quotas = apps.get_model("tenants", "Quota")
    tenants = {tenant.pk: tenant.parent_id for tenant in apps.get_model("tenants", "Tenant").objects.all()}
    known = set(quotas.objects.filter(resource="images_gib").values_list("tenant_id", flat=True))
    totals = charged(apps, tenants)
    quotas.objects.bulk_create(
        quotas(id=uuid7(), tenant_id=pk, resource="images_gib", used=totals[pk]) for pk in tenants if pk not in known
    )


def charged(apps, tenants):
    """Write what each tenant's image takes; the sums by tenant, children's with their parents'."""
    totals = Counter()
    for image in apps.get_model("vms", "Image").objects.exclude(tenant=None):
        image.charged_gib = -(-image.size // GIB)
        image.save(update_fields=["charged_gib"])
        pk = image.tenant_id
        while pk is not None:
            totals[pk] += image.charged_gib
            pk = tenants[pk]
    return totals


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, which older code does not look at."""

    dependencies = [("vms", "0009_images"), ("tenants", "0003_tenancy")]
    operations = [migrations.RunPython(write_rows, migrations.RunPython.noop)]
