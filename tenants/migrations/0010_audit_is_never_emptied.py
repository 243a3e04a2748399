"""What 0004 left open: emptying an audit log at once (PostgreSQL), and putting another entry in one's place (SQLite)."""

from django.db import migrations

LOGS = {"tenants_auditentry": "tenant_id = NEW.tenant_id AND seq = NEW.seq", "tenants_installationentry": "seq = NEW.seq"}
REFUSAL = "the audit log is append-only"


def guard(apps, schema_editor):
    """PostgreSQL fires no trigger of a row for TRUNCATE, SQLite none of a deletion for INSERT OR REPLACE."""
    for table, same in LOGS.items():
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute(
                f"CREATE TRIGGER {table}_no_replacement BEFORE INSERT ON {table} "
                f"WHEN EXISTS (SELECT 1 FROM {table} WHERE id = NEW.id OR ({same})) "
                f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            )
        else:
            schema_editor.execute(
                f"CREATE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table} "
                f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_guard()"
            )


def unguard(apps, schema_editor):
    """Take them away."""
    for table in LOGS:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute(f"DROP TRIGGER {table}_no_replacement")
        else:
            schema_editor.execute(f"DROP TRIGGER {table}_never_emptied ON {table}")


class Migration(migrations.Migration):
    """Data definition that the schema of models cannot say."""

    dependencies = [("tenants", "0009_invitation_declined")]
    operations = [migrations.RunPython(guard, unguard)]
