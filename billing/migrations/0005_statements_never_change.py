"""What was issued, and which list's turn it was when, holds in the database; today's default list has had its turn all along."""

from datetime import UTC, datetime

from django.db import migrations

TABLES = {"billing_statement": "id = NEW.id OR (tenant_id = NEW.tenant_id AND period = NEW.period)", "billing_listturn": "since = NEW.since"}
REFUSAL = "what was billed is written once"
ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)


def begin(apps, schema_editor):
    """Lists had no turns before this: prices say by themselves from when they hold."""
    ListTurn = apps.get_model("billing", "ListTurn")
    for row in apps.get_model("billing", "PriceList").objects.filter(is_default=True):
        ListTurn.objects.create(since=ALWAYS, price_list=row)


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
        for name, when in (("written_once", "UPDATE OR DELETE"), ("never_emptied", "TRUNCATE")):
            each = "STATEMENT" if when == "TRUNCATE" else "ROW"
            schema_editor.execute(
                f"CREATE TRIGGER {table}_{name} BEFORE {when} ON {table} FOR EACH {each} EXECUTE FUNCTION {table}_guard()"
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
    """Data definition that the schema of models cannot say, and what is so today."""

    dependencies = [("billing", "0004_statements")]
    operations = [migrations.RunPython(guard, unguard), migrations.RunPython(begin, migrations.RunPython.noop)]
