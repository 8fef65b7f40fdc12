"""One read, carried out and recorded: a client's, or one of the last look at the end of a run."""

from tracegen.backend.face import Connection
from tracegen.errors import Lost, NotSent
from tracegen.history import Operation, Outcome, Recorder
from tracegen.operations import LISTS
from tracegen.workload.api import Api
from tracegen.workload.asked import Read
from tracegen.workload.shapes import Result


async def carry_out(read: Read, api: Api, connection: Connection, recorder: Recorder) -> Result | None:
    """Do it and record it; None when no answer came (which a read records as failed: it had no effect)."""
    invoke_us = recorder.clock.now_us()
    result: Result | None
    try:
        result = await api.read(connection, read)
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
            page=read.page if read.kind in LISTS else None,
            of_version=read.version.id if read.version else None,
            made_by=(read.version.made_by or None) if read.version else None,
            version=result.version if result else None,
            listed=result.listed if result else None,
            versions=result.versions if result else None,
        )
    )
    return result
