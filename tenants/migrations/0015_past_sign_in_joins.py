"""Whom the audit log knows to have been let in by a domain."""

from django.db import migrations
from django.db.backends.postgresql.schema import DatabaseSchemaEditor
from django.db.migrations.state import StateApps


def write_joins(apps: StateApps, schema_editor: DatabaseSchemaEditor) -> None:
    """A row for each person and tenant of whom the log says so; safe to repeat."""
    users, joins = apps.get_model("tenants", "User"), apps.get_model("tenants", "SignInJoin")
    entries = apps.get_model("tenants", "AuditEntry")._base_manager.filter(action="member.sign_in")
    known = {str(pk) for pk in users._base_manager.values_list("pk", flat=True)}
    found = {(tenant, subject) for tenant, subject in entries.values_list("tenant_id", "subject_id")}
    rows = [joins(tenant_id=tenant, user_id=user) for tenant, user in sorted(found, key=str) if str(user) in known]
    joins._base_manager.bulk_create(rows, ignore_conflicts=True)


class Migration(migrations.Migration):
    """Backwards there is nothing to undo: the table goes."""

    dependencies = [("tenants", "0014_sign_in_join")]
    operations = [migrations.RunPython(write_joins, migrations.RunPython.noop)]
