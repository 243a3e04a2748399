"""Rows are written by services, the journal and migrations; anywhere else a write escapes permission, quota and audit."""

from __future__ import annotations

import ast
import re

from tests.architecture.sources import calls, modules

ROOMS_THAT_WRITE = re.compile(r"(^|/)(services(/|\.py$)|migrations/|journal/)|^tenants/scoping\.py$")
MANAGERS = {"objects", "_base_manager", "_default_manager"}
WRITES = {
    "create", "acreate", "get_or_create", "update_or_create", "bulk_create", "bulk_update", "update", "aupdate", "delete",
    "adelete",
}  # fmt: skip

ALLOWED = {
    ("tenants/models/people.py", "save"): "Django's own protocol: a manager makes users; people.user_create calls it",
    ("operations/tasks.py", "delete"): "retention: what is past it belongs to nobody who could be asked",
    ("portal/admin_base.py", "create"): "Django's own log of the operators' site",
    ("vms/hypervisor/ovn/wire.py", "delete"): "a row of OVN's database, not of ours",
    ("vms/management/commands/seed.py", "get_or_create"): "the installation's own row, before there is anybody",
}
"""(file, verb): why it may."""


def write_in(call: ast.Call) -> str:
    """The verb, if a call writes rows: through a manager, or on a row itself; else nothing."""
    if not isinstance(call.func, ast.Attribute):
        return ""
    verb = call.func.attr
    if verb in WRITES and _from_manager(call.func.value):
        return verb
    keywords = {keyword.arg for keyword in call.keywords}
    if verb in ("save", "asave") and not call.args and keywords <= {"update_fields", "force_insert", "using", None}:
        return verb
    if verb in ("delete", "adelete") and not call.args and not call.keywords:
        return verb
    return ""


def _from_manager(node: ast.expr) -> bool:
    return any(isinstance(part, ast.Attribute) and part.attr in MANAGERS for part in ast.walk(node))


def stray(path: str, tree: ast.AST) -> list[tuple[str, int, str]]:
    if ROOMS_THAT_WRITE.search(path):
        return []
    return [(path, call.lineno, verb) for call in calls(tree) if (verb := write_in(call))]


def test_rows_are_written_by_services_only() -> None:
    found = [place for path, tree in modules().items() for place in stray(path, tree)]

    assert [f"{path}:{line}: {verb}" for path, line, verb in found if (path, verb) not in ALLOWED] == []
    assert set(ALLOWED) == {(path, verb) for path, _line, verb in found}, "an exception that nobody needs any more"


def test_a_planted_write_is_caught() -> None:
    planted = """
guest.save()
guest.save(update_fields=["name"])
Guest.objects.filter(pk=1).update(name="x")
Guest._base_manager.exclude(pk=1).delete()
Tag.objects.create(name="x")
guest.delete()
hv.save(uuid)
seen.update(other)
cache.delete(key)
router.delete("/x")
"""
    assert [line for _path, line, _verb in stray("vms/views/guests.py", ast.parse(planted))] == [2, 3, 4, 5, 6, 7]
    assert stray("vms/services/guests/create.py", ast.parse(planted)) == []
