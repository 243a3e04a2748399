from django.db import migrations

REFUSAL = "an address is one card's at a time, and what was is not changed"
ENDED = "OLD.until IS NOT NULL OR NEW.ip <> OLD.ip OR NEW.mac <> OLD.mac OR NEW.guest_id <> OLD.guest_id OR NEW.since <> OLD.since"


def guard(apps, schema_editor):
    """Two uses of an address never overlap; an open one can be ended, and no other changed."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE vms_addressuse ADD CONSTRAINT address_uses_never_overlap "
            "EXCLUDE USING gist (ip inet_ops WITH =, tstzrange(since, until) WITH &&)"
        )
        schema_editor.execute(
            "CREATE FUNCTION vms_addressuse_guard() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{REFUSAL.replace("'", "''")}'; END $$"
        )
        schema_editor.execute(
            f"CREATE TRIGGER vms_addressuse_kept BEFORE UPDATE ON vms_addressuse FOR EACH ROW WHEN ({ENDED}) "
            "EXECUTE FUNCTION vms_addressuse_guard()"
        )
        return
    refusal = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL.replace("'", "''")}'); END"
    schema_editor.execute(
        "CREATE TRIGGER vms_addressuse_once BEFORE INSERT ON vms_addressuse WHEN EXISTS (SELECT 1 FROM vms_addressuse "
        "WHERE ip = NEW.ip AND id <> NEW.id AND (until IS NULL OR until > NEW.since) "
        f"AND (NEW.until IS NULL OR NEW.until > since)) {refusal}"
    )
    schema_editor.execute(
        f"CREATE TRIGGER vms_addressuse_kept BEFORE UPDATE ON vms_addressuse WHEN {ENDED} {refusal}"
    )


def unguard(apps, schema_editor):
    """Take it away."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("DROP TRIGGER vms_addressuse_kept ON vms_addressuse")
        schema_editor.execute("DROP FUNCTION vms_addressuse_guard()")
        schema_editor.execute("ALTER TABLE vms_addressuse DROP CONSTRAINT address_uses_never_overlap")
        return
    schema_editor.execute("DROP TRIGGER vms_addressuse_kept")
    schema_editor.execute("DROP TRIGGER vms_addressuse_once")


def begin(apps, schema_editor):
    """Who has an address today has had it since the machine was made, as far as anybody knows."""
    AddressUse = apps.get_model("vms", "AddressUse")
    held = apps.get_model("vms", "Address").objects.select_related("port__guest", "port__network")
    AddressUse.objects.bulk_create(
        (
            AddressUse(
                tenant_id=address.tenant_id,
                ip=address.ip,
                mac=address.port.mac,
                port_id=address.port_id,
                guest_id=address.port.guest_id,
                guest_name=address.port.guest.name,
                network_id=address.port.network_id,
                network_name=address.port.network.name,
                since=address.port.guest.created_at,
            )
            for address in held.iterator(chunk_size=500)
        ),
        batch_size=500,
    )


class Migration(migrations.Migration):
    """Data definition that the schema of models cannot say, and what is so today."""

    dependencies = [
        ("vms", "0041_address_uses"),
    ]

    operations = [
        migrations.RunPython(begin, migrations.RunPython.noop),
        migrations.RunPython(guard, unguard),
    ]
