"""Tenants made before more resources were counted get rows for them, without a limit, that count what is there."""

from collections import Counter, defaultdict

from django.db import migrations

from portal.core.ids import uuid7

NEW = (
    "running_guests", "backups_gib", "images", "ports", "public_addresses", "security_group_rules",
    "guest_vcpus", "guest_memory_mib", "guest_disk_gib", "guest_ports", "guest_volumes", "guest_creates_per_day",
)  # fmt: skip


def write_rows(apps, schema_editor):
    """A limit that nobody has set would refuse what was allowed yesterday. Safe to repeat."""
    quotas = apps.get_model("tenants", "Quota").objects
    tenants = {tenant.pk: tenant.parent_id for tenant in apps.get_model("tenants", "Tenant").objects.all()}
    totals = defaultdict(Counter)
    for pk, amounts in held(apps).items():
        while pk is not None:
            totals[pk].update(amounts)
            pk = tenants[pk]
    known = set(quotas.values_list("tenant_id", "resource"))
    quotas.bulk_create(
        apps.get_model("tenants", "Quota")(id=uuid7(), tenant_id=pk, resource=name, used=totals[pk][name])
        for pk in tenants
        for name in dict.fromkeys([*NEW, *totals[pk]])
        if (pk, name) not in known
    )


def held(apps):
    """By tenant, what its own rows make of the new resources."""
    own = defaultdict(Counter)
    guests = apps.get_model("vms", "Guest").objects
    for pk in guests.filter(want_power__in=["running", "paused"], binned_at=None).values_list("tenant_id", flat=True):
        own[pk]["running_guests"] += 1
    for pk in apps.get_model("vms", "Port").objects.exclude(guest__charge="none").values_list("tenant_id", flat=True):
        own[pk]["ports"] += 1
    images = apps.get_model("vms", "Image").objects.exclude(tenant=None)
    for pk in images.values_list("tenant_id", flat=True):
        own[pk]["images"] += 1
    volumes = apps.get_model("vms", "Volume").objects.exclude(guest__charge="none")
    for pk, name, size in volumes.values_list("tenant_id", "storage_class__name", "size_gib"):
        own[pk][f"disk_gib:{name}"] += size
    return own


class Migration(migrations.Migration):
    """Data only; undoing leaves the rows, which older code does not look at."""

    dependencies = [("vms", "0002_defaults"), ("tenants", "0003_tenancy")]
    operations = [migrations.RunPython(write_rows, migrations.RunPython.noop)]
