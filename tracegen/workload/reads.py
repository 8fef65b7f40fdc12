"""One read, carried out and recorded: a client's, or one of the last look at the end of a run."""

from dataclasses import dataclass

from tracegen.backend.face import Connection
from tracegen.errors import Lost, NotSent
from tracegen.history import Kind, Operation, Outcome, Recorder
from tracegen.workload import native
from tracegen.workload.native import Condition, Result


@dataclass(frozen=True)
class Read:
    """A get of `path`, or of a span of it, or a list of everything under it, `page` paths at a time."""

    client: str
    op: int
    kind: Kind
    path: str
    node: str
    deadline_s: float
    condition: Condition = native.UNCONDITIONAL
    span: tuple[int, int] | None = None
    page: int = native.LIST_LIMIT


async def carry_out(read: Read, connection: Connection, recorder: Recorder) -> Result | None:
    """Do it and record it; None when no answer came (which a read records as failed: it had no effect)."""
    invoke_us = recorder.clock.now_us()
    result: Result | None
    try:
        if read.kind == "list":
            result = await native.list_all(connection, read.path, read.deadline_s, read.page)
        else:
            result = await native.get(connection, read.path, read.deadline_s, read.condition, read.span)
    except (NotSent, Lost):
        result = None
    outcome: Outcome = "ok" if result is not None and result.outcome == "ok" else "failed"
    recorder.record(
        Operation(
            client=read.client,
            op=read.op,
            kind=read.kind,
            path=read.path,
            node=read.node,
            invoke_us=invoke_us,
            return_us=recorder.clock.now_us(),
            outcome=outcome,
            status=result.status if result else None,
            condition=read.condition.kind,
            condition_etag=read.condition.etag,
            generation=result.generation if result else None,
            etag=result.etag if result else None,
            deleted=result.deleted if result else None,
            size_bytes=result.size_bytes if result else None,
            sha256=result.sha256 if result else None,
            paths=result.paths if result else None,
            span=read.span,
            page=read.page if read.kind == "list" else None,
        )
    )
    return result
