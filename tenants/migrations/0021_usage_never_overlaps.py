"""The usage ledger holds in the database: no overlap, whole seconds, and only the end of an open interval is ever written."""

from django.db import migrations

TABLE = "tenants_usageinterval"
KEPT = ("id", "tenant_id", "resource_type", "resource_id", "meter", "quantity", "attributes", "started_at")
OVERLAP = "two intervals of one resource and meter overlap"
SECONDS = "the usage ledger counts whole seconds"
REFUSAL = "the usage ledger is append-only"

POSTGRESQL = [
    "CREATE EXTENSION IF NOT EXISTS btree_gist",
    f"ALTER TABLE {TABLE} ADD CONSTRAINT usage_never_overlaps EXCLUDE USING gist "
    "(resource_id WITH =, meter WITH =, tstzrange(started_at, ended_at, '[)') WITH &&)",
    f"ALTER TABLE {TABLE} ADD CONSTRAINT usage_whole_seconds CHECK "
    "(date_trunc('second', started_at) = started_at AND (ended_at IS NULL OR date_trunc('second', ended_at) = ended_at))",
    f"CREATE FUNCTION {TABLE}_guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "IF TG_OP = 'UPDATE' AND OLD.ended_at IS NULL AND "
    f"({', '.join(f'OLD.{name}' for name in KEPT)}) IS NOT DISTINCT FROM ({', '.join(f'NEW.{name}' for name in KEPT)}) "
    "THEN RETURN NEW; END IF; "
    f"RAISE EXCEPTION '{REFUSAL}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
    f"CREATE TRIGGER {TABLE}_append_only BEFORE UPDATE OR DELETE ON {TABLE} "
    f"FOR EACH ROW EXECUTE FUNCTION {TABLE}_guard()",
    f"CREATE TRIGGER {TABLE}_never_emptied BEFORE TRUNCATE ON {TABLE} "
    f"FOR EACH STATEMENT EXECUTE FUNCTION {TABLE}_guard()",
]
NO_POSTGRESQL = [
    f"DROP TRIGGER {TABLE}_never_emptied ON {TABLE}",
    f"DROP TRIGGER {TABLE}_append_only ON {TABLE}",
    f"DROP FUNCTION {TABLE}_guard()",
    f"ALTER TABLE {TABLE} DROP CONSTRAINT usage_whole_seconds",
    f"ALTER TABLE {TABLE} DROP CONSTRAINT usage_never_overlaps",
]

SPLIT = "length(NEW.started_at) > 19 OR length(NEW.ended_at) > 19"
"""SQLite keeps moments as text, and writes a fraction only where there is one."""
MEETS = (
    f"(NEW.ended_at IS NULL OR NEW.ended_at > NEW.started_at) AND EXISTS (SELECT 1 FROM {TABLE} AS other "
    "WHERE other.resource_id = NEW.resource_id AND other.meter = NEW.meter AND other.id <> NEW.id "
    "AND (other.ended_at IS NULL OR other.ended_at > other.started_at) "
    "AND (NEW.ended_at IS NULL OR other.started_at < NEW.ended_at) "
    "AND (other.ended_at IS NULL OR other.ended_at > NEW.started_at))"
)
SAME = " AND ".join(f"NEW.{name} IS OLD.{name}" for name in KEPT)


def _trigger(name, when, condition, refusal):
    return (
        f"CREATE TRIGGER {TABLE}_{name} BEFORE {when} ON {TABLE} WHEN {condition} "
        f"BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
    )


SQLITE = [
    _trigger("no_overlap", "INSERT", MEETS, OVERLAP),
    _trigger("no_later_overlap", "UPDATE", MEETS, OVERLAP),
    _trigger("whole_seconds", "INSERT", SPLIT, SECONDS),
    _trigger("whole_seconds_later", "UPDATE", SPLIT, SECONDS),
    _trigger("no_change", "UPDATE", f"NOT (OLD.ended_at IS NULL AND {SAME})", REFUSAL),
    _trigger("no_loss", "DELETE", "1", REFUSAL),
    _trigger("no_replacement", "INSERT", f"EXISTS (SELECT 1 FROM {TABLE} WHERE id = NEW.id)", REFUSAL),
]
NAMES = ("no_overlap", "no_later_overlap", "whole_seconds", "whole_seconds_later", "no_change", "no_loss", "no_replacement")
NO_SQLITE = [f"DROP TRIGGER {TABLE}_{name}" for name in NAMES]


def _run(schema_editor, statements):
    for statement in statements[schema_editor.connection.vendor]:
        schema_editor.execute(statement)


def guard(apps, schema_editor):
    """Set the constraints and triggers; fails where the ledger breaks them already, and says at which resource."""
    _run(schema_editor, {"postgresql": POSTGRESQL, "sqlite": SQLITE})


def unguard(apps, schema_editor):
    """Take them away."""
    _run(schema_editor, {"postgresql": NO_POSTGRESQL, "sqlite": NO_SQLITE})


class Migration(migrations.Migration):
    """Data definition that the schema of models cannot say."""

    dependencies = [("tenants", "0020_usage_late")]
    operations = [migrations.RunPython(guard, unguard)]
