"""The audit log holds in the database: no entry changes, none goes but what its chain's retention has let go."""

from django.db import migrations

LOGS = {
    "tenants_auditentry": "SELECT audit_floor FROM tenants_journal WHERE tenant_id = OLD.tenant_id",
    "tenants_installationentry": "SELECT audit_floor FROM tenants_installationjournal WHERE id = 1",
}
REFUSAL = "the audit log is append-only"


def statements(vendor, table, floor):
    """What makes ``table`` append-only on a database of that kind."""
    kept = f"OLD.seq > COALESCE(({floor}), 0)"
    if vendor == "sqlite":
        say = f"SELECT RAISE(ABORT, '{REFUSAL}');"
        return [
            f"CREATE TRIGGER {table}_no_change BEFORE UPDATE ON {table} BEGIN {say} END",
            f"CREATE TRIGGER {table}_no_loss BEFORE DELETE ON {table} WHEN {kept} BEGIN {say} END",
        ]
    return [
        f"CREATE FUNCTION {table}_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP = 'DELETE' AND NOT ({kept}) THEN RETURN OLD; END IF; "
        f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE ON {table} "
        f"FOR EACH ROW EXECUTE FUNCTION {table}_guard()",
    ]


def guard(apps, schema_editor):
    """Set the triggers."""
    for table, floor in LOGS.items():
        for statement in statements(schema_editor.connection.vendor, table, floor):
            schema_editor.execute(statement)


def unguard(apps, schema_editor):
    """Take them away."""
    for table in LOGS:
        if schema_editor.connection.vendor == "sqlite":
            schema_editor.execute(f"DROP TRIGGER {table}_no_change")
            schema_editor.execute(f"DROP TRIGGER {table}_no_loss")
        else:
            schema_editor.execute(f"DROP TRIGGER {table}_append_only ON {table}")
            schema_editor.execute(f"DROP FUNCTION {table}_guard()")


class Migration(migrations.Migration):
    """Data definition that the schema of models cannot say."""

    dependencies = [("tenants", "0003_tenancy")]
    operations = [migrations.RunPython(guard, unguard)]
