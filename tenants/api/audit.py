"""REST: who did what, in a project and, for operators, outside of any; is it still what was written; and as a file."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final, Literal

from django.http import StreamingHttpResponse
from django.utils.translation import gettext as _
from ninja import Query, Router
from pydantic import BaseModel, Field

from portal.core.bodies import Listed, Listing, Moment, listed, refuse_unknown
from portal.core.errors import FieldError, Invalid
from portal.core.etags import find
from tenants.api.tenants import tenant_in_path
from tenants.files import KINDS, audit_response
from tenants.journal.chain import Fault, Mark, Verdict, chain_verify
from tenants.journal.models import Deed
from tenants.journal.search import AuditSearch
from tenants.listings import JOURNAL_SORTS, audit_entries, installation_entries
from tenants.policy import Permission
from tenants.types import HttpRequest

router = Router(tags=["journal"])
operators = Router(tags=["operators: journal"])
AT_ONCE: Final = 25_000


class AuditSubjectOut(BaseModel):
    """What was changed, as it was called then."""

    type: str
    id: str
    name: str


class AuditOut(BaseModel):
    """One change: by whom, through what, to what; a pair in `changes` is before and after.

    `hash` is the SHA-256 of the entry and of `prev_hash`, that of the entry before: none can be changed or left out alone.
    """

    id: str
    seq: int
    at: datetime
    actor: str
    via: str
    address: str
    action: str
    subject: AuditSubjectOut
    changes: dict[str, Any]
    request_id: str
    prev_hash: str
    hash: str


class AuditWords(BaseModel):
    """Filters of a log."""

    q: str = Field(default="", max_length=100, description="Part of an action, a name or an actor.")
    action: str = Field(default="", max_length=48, description="`guest.stop`; all about machines: `guest.`")
    actor: str = Field(default="", max_length=254, description="The address of a person.")
    subject_type: str = Field(default="", max_length=32)
    subject_id: str = Field(default="", max_length=40)
    since: Moment | None = None
    until: Moment | None = Field(default=None, description="Exclusive.")

    def search(self) -> AuditSearch:
        """The same for the log."""
        return AuditSearch(**{name: getattr(self, name) for name in AuditWords.model_fields})


class AuditQuery(AuditWords, Listing):
    """Filters of the audit log."""

    sort: str = Field(default="-seq", max_length=40, description="`seq`, `-seq`")
    q: str = Field(default="", max_length=100, description="Part of an action, a name or an actor.")


class AuditFileQuery(AuditWords):
    """Filters of the audit log as a file."""

    format: Literal["jsonl", "csv"] = "jsonl"


class VerifyQuery(BaseModel):
    """From where on: the `seq` and `hash` of an entry that you kept, both or none."""

    after_seq: int | None = Field(default=None, ge=0, le=2**63 - 1)
    hash: str = Field(default="", max_length=64, pattern=r"^[0-9a-f]*$")


class MarkOut(BaseModel):
    """A place in the log: an entry's number and its hash."""

    seq: int
    hash: str


class VerdictOut(BaseModel):
    """Whether the entries after `start` up to `end` are what was written; keep `end` to compare with another time.

    Where something is wrong, `fault` says what, `place` at which entry, and `sentence` says it for people. `more`: there are
    further entries; ask again from `end`.
    """

    whole: bool
    start: MarkOut
    end: MarkOut
    more: bool
    fault: Fault | None
    place: int | None
    sentence: str


def _audit_out(entry: Deed) -> AuditOut:
    return AuditOut(
        id=str(entry.pk),
        seq=entry.seq,
        at=entry.at,
        actor=entry.actor_label,
        via=entry.via,
        address=entry.address,
        action=entry.action,
        subject=AuditSubjectOut(type=entry.subject_type, id=entry.subject_id, name=entry.subject_name),
        changes=entry.changes,
        request_id=entry.request_id,
        prev_hash=entry.prev_hash,
        hash=entry.hash,
    )


def _verdict_out(verdict: Verdict) -> VerdictOut:
    return VerdictOut(
        whole=verdict.is_whole,
        start=MarkOut(seq=verdict.start.seq, hash=verdict.start.hash),
        end=MarkOut(seq=verdict.end.seq, hash=verdict.end.hash),
        more=verdict.more,
        fault=verdict.fault,
        place=None if verdict.is_whole else verdict.place,
        sentence=verdict.sentence,
    )


def _mark(query: VerifyQuery) -> Mark | None:
    if query.after_seq is None and not query.hash:
        return None
    if query.after_seq is None or len(query.hash) != 64:
        message = _("Send the number and the whole hash of an entry, or neither.")
        raise Invalid(errors=[FieldError("/after_seq", "incomplete", message)])
    return Mark(query.after_seq, query.hash)


@router.get("/audit-events", response=Listed[AuditOut], summary="Read the audit log")
def audit_list(request: HttpRequest, query: Query[AuditQuery]) -> dict[str, Any]:
    """Every change in this project, newest first; entries are chained by hash and never changed."""
    request.actor.require(Permission.AUDIT_VIEW)
    rows = audit_entries(tenant_in_path(request)).filter(query.search().condition())
    return listed(request, query, rows, sorts=JOURNAL_SORTS, out=_audit_out)


@router.get("/audit-events/verify", response=VerdictOut, summary="Check the audit log")
def audit_verify(request: HttpRequest, query: Query[VerifyQuery]) -> VerdictOut:
    """Is it still what was written? Follows the chain of hashes, at most 25,000 entries at once.

    Keep `end` of an answer somewhere else: sent back as `after_seq` and `hash`, it proves that nothing up to there was
    rewritten since, not even by somebody who may write in the database.
    """
    request.actor.require(Permission.AUDIT_VIEW)
    refuse_unknown(request, query)
    return _verdict_out(chain_verify(tenant_in_path(request), after=_mark(query), limit=AT_ONCE))


@router.get(
    "/audit-events/export",
    summary="Get the audit log as a file",
    openapi_extra={
        "responses": {
            200: {
                "description": "The entries, oldest first.",
                "content": {kind.partition(";")[0]: {"schema": {"type": "string"}} for kind in KINDS.values()},
            }
        }
    },
)
def audit_export(request: HttpRequest, query: Query[AuditFileQuery]) -> StreamingHttpResponse:
    """All entries that the filters leave, as JSON lines or CSV, with everything that the hashes cover."""
    request.actor.require(Permission.AUDIT_VIEW)
    refuse_unknown(request, query)
    return audit_response(tenant_in_path(request), query.search(), query.format)


@router.get("/audit-events/{entry_id}", response=AuditOut, summary="Get an entry of the audit log")
def audit_get(request: HttpRequest, entry_id: str) -> AuditOut:
    """One change."""
    request.actor.require(Permission.AUDIT_VIEW)
    return _audit_out(find(request, audit_entries(tenant_in_path(request)), entry_id))


@operators.get("/audit-events", response=Listed[AuditOut], summary="Read the installation's audit log")
def installation_audit_list(request: HttpRequest, query: Query[AuditQuery]) -> dict[str, Any]:
    """What operators changed outside any project: hosts, flavors, images, people; newest first."""
    request.actor.require(Permission.OPERATE)
    rows = installation_entries().filter(query.search().condition())
    return listed(request, query, rows, sorts=JOURNAL_SORTS, out=_audit_out)


@operators.get("/audit-events/verify", response=VerdictOut, summary="Check the installation's audit log")
def installation_audit_verify(request: HttpRequest, query: Query[VerifyQuery]) -> VerdictOut:
    """Is it still what was written? As for a project's log."""
    request.actor.require(Permission.OPERATE)
    refuse_unknown(request, query)
    return _verdict_out(chain_verify(None, after=_mark(query), limit=AT_ONCE))
