"""Executions for operators: what was begun, how it ended, and who holds it."""

from uuid import UUID

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.safestring import SafeString

from agents.models import Execution, ExecutionStatus, Run
from approvals.admin import cells, search
from approvals.admin.cells import age, as_column, shown, shown_status
from approvals.admin.history import History, history_of
from approvals.admin.lists import ReadOnlyAdmin, ReadOnlyInline
from approvals.masking import quiet, quiet_json
from approvals.wording import duration, headline

_SUMMARY, _SHORT_SUMMARY = shown("summary", quiet=True), shown("summary", most=120, quiet=True)
_KEY = shown("key")


@as_column("step")
def step(row: Execution) -> str:
    """A column with what an action does, and which step of its run it is, counted from one."""
    operation = headline(str(row.action.get("operation") or row.action.get("executor") or "action"))
    return f"{operation}, step {row.position + 1}"


class ExecutionInline(ReadOnlyInline):
    """What the run has begun."""

    model = Execution
    fields = readonly_fields = (
        step,
        shown_status,
        "attempts",
        "started_at",
        "finished_at",
        _SUMMARY,
    )
    ordering = ("position", "started_at")
    show_change_link = True

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        """Executions without what only their own pages show."""
        rows: QuerySet[Execution] = super().get_queryset(request)
        return rows.defer("output", "data").select_related("run")


@admin.register(Execution)
class ExecutionAdmin(ReadOnlyAdmin):
    """Every action that was begun, with its output."""

    list_display = (
        step,
        shown_status,
        "run_page",
        "request_page",
        "attempts",
        age("started_at", "started"),
        "took",
        _SHORT_SUMMARY,
    )
    list_filter = ("status", ("started_at", admin.DateFieldListFilter))
    list_deferred = ("output", "data", "run__steps", "run__result")
    search_fields = ("pk",)
    search_help_text = (
        "The execution's key, the id of its run or request, a Linear identifier, a pull request or"
        " who asked."
    )
    sortable_by = ("started_at",)
    ordering = ("-started_at",)
    fieldsets = (
        (
            None,
            {
                "fields": (
                    (step, shown_status, "attempts"),
                    ("run_page", "request_page"),
                    ("started_at", "finished_at", "took"),
                    _SUMMARY,
                    "folded_output",
                )
            },
        ),
        ("What was begun", {"fields": ("exact_action", "digest", "folded_data")}),
        ("Claim", {"fields": (_KEY, ("claim", "lease_until", "retry_granted_at"))}),
    )
    readonly_fields = (
        step,
        shown_status,
        "run_page",
        "request_page",
        "took",
        "exact_action",
        "folded_output",
        "folded_data",
        "claim",
        _SUMMARY,
        _KEY,
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Execution]:
        """Executions with their runs."""
        rows: QuerySet[Execution] = super().get_queryset(request)
        return rows.select_related("run")

    def meant(self, term: str) -> Q:
        """Executions by key, and those for the requests or of the runs that are meant."""
        asked: set[UUID] = set(search.request_ids(term))
        runs = {UUID(one) for one in search.threads_meant(term) if search.as_uuid(one)}
        if (identifier := search.as_uuid(term)) is not None:
            asked.add(identifier)
            runs.add(identifier)
        of_pull = Run.objects.filter(search.pull_meant(term) | Q(requested_by=term))
        runs.update(of_pull.order_by("-created_at").values_list("pk", flat=True)[:100])
        keys = [term, *(f"request:{one}" for one in asked)]
        found = Q(key__in=keys) | Q(run__in=runs)
        return found if identifier is None else found | Q(pk=identifier)

    def history(self, row: Execution) -> History:
        """What the audit log says of executions in its stream."""
        stream = row.request_id or row.run_id
        return history_of(
            stream, "What happened", Q(name__startswith="execution."), given=row.given
        )

    @admin.display(description="run")
    def run_page(self, row: Execution) -> SafeString:
        """The way to its run."""
        address = reverse("admin:agents_run_change", args=[row.run_id])
        return cells.link(address, f"{headline(row.run.workflow)} {str(row.run_id)[:8]}")

    @admin.display(description="request")
    def request_page(self, row: Execution) -> SafeString | str:
        """The way to the request that was approved."""
        if row.request_id is None:
            return "needed none"
        return cells.link(reverse("request", args=[row.request_id]), str(row.request_id)[:8])

    @admin.display(description="took")
    def took(self, row: Execution) -> str:
        """How long, or since when."""
        if row.finished_at is None:
            return cells.NOTHING
        return duration((row.finished_at - row.started_at).total_seconds())

    @admin.display(description="claim")
    def claim(self, row: Execution) -> str:
        """Whether a worker holds it."""
        if row.claim_token is None:
            return "nobody holds it"
        if row.status == ExecutionStatus.STARTED and row.lease_until is not None:
            late = row.lease_until <= row.now  # type: ignore[attr-defined]  # annotated
            return "its worker is overdue and counts as crashed" if late else "a worker is at it"
        return "a worker that has not reported may still finish it"

    @admin.display(description="action")
    def exact_action(self, row: Execution) -> SafeString:
        """The frozen action, secrets masked."""
        return cells.folded(quiet_json(row, row.action))

    @admin.display(description="output")
    def folded_output(self, row: Execution) -> SafeString | str:
        """What it printed or was answered, secrets masked."""
        if not row.output and row.run.purged_at is not None:
            return "Purged: output is kept for as long as HITL_RETENTION_DAYS says."
        return cells.folded_text(quiet(row, row.output))

    @admin.display(description="data")
    def folded_data(self, row: Execution) -> SafeString:
        """What was noted beside the output, secrets masked."""
        return cells.folded(quiet_json(row, row.data))
