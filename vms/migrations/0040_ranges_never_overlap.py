from django.db import migrations


def guard(apps, schema_editor):
    """No two ranges of an installation overlap. SQLite has one writer at a time, and the service looks before it writes."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(
            "ALTER TABLE vms_subnet ADD CONSTRAINT subnet_never_overlaps "
            "EXCLUDE USING gist ((cidr::inet) inet_ops WITH &&)"
        )


def unguard(apps, schema_editor):
    """Take it away."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute("ALTER TABLE vms_subnet DROP CONSTRAINT subnet_never_overlaps")


class Migration(migrations.Migration):
    """Data definition that the schema of models cannot say."""

    dependencies = [
        ("vms", "0039_networks_as_drawn"),
    ]

    operations = [migrations.RunPython(guard, unguard)]
