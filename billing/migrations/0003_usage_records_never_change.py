"""What was recorded holds in the database: no record and no closed hour changes or goes."""

from django.db import migrations

TABLES = {"billing_usagerecord": "id = NEW.id OR (tenant_id = NEW.tenant_id AND seq = NEW.seq)", "billing_closedhour": "start = NEW.start"}
REFUSAL = "usage records are written once"


def guard(apps, schema_editor):
    """Set the triggers."""
    for table, same in TABLES.items():
        if schema_editor.connection.vendor == "sqlite":
            say = f"BEGIN SELECT RAISE(ABORT, '{REFUSAL}'); END"
            schema_editor.execute(f"CREATE TRIGGER {table}_no_change BEFORE UPDATE ON {table} {say}")
            schema_editor.execute(f"CREATE TRIGGER {table}_no_loss BEFORE DELETE ON {table} {say}")
            schema_editor.execute(
                f"CREATE TRIGGER {table}_no_replacement BEFORE INSERT ON {table} "
                f"WHEN EXISTS (SELECT 1 FROM {table} WHERE {same}) {say}"
            )
            continue
        schema_editor.execute(
            f"CREATE FUNCTION {table}_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        schema_editor.execute(
            f"CREATE TRIGGER {table}_written_once BEFORE UPDATE OR DELETE ON {table} "
            f"FOR EACH ROW EXECUTE FUNCTION {table}_guard()"
        )
        schema_editor.execute(
            f"CREATE TRIGGER {table}_never_emptied BEFORE TRUNCATE ON {table} "
            f"FOR EACH STATEMENT EXECUTE FUNCTION {table}_guard()"
        )


def unguard(apps, schema_editor):
    """Take them away."""
    for table in TABLES:
        if schema_editor.connection.vendor == "sqlite":
            for kind in ("no_change", "no_loss", "no_replacement"):
                schema_editor.execute(f"DROP TRIGGER {table}_{kind}")
        else:
            schema_editor.execute(f"DROP TRIGGER {table}_written_once ON {table}")
            schema_editor.execute(f"DROP TRIGGER {table}_never_emptied ON {table}")
            schema_editor.execute(f"DROP FUNCTION {table}_guard()")


class Migration(migrations.Migration):
    """Data definition that the schema of models cannot say."""

    dependencies = [("billing", "0002_usage_records")]
    operations = [migrations.RunPython(guard, unguard)]
