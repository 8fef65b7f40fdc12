"""The APIs that clients can speak: what a workload asks of each, and which one a scenario means."""

from typing import Protocol

from tracegen.backend.face import Cluster, Connection
from tracegen.history import Kind
from tracegen.scenario import Scenario
from tracegen.workload.asked import Read, Write
from tracegen.workload.native import Native
from tracegen.workload.s3 import S3
from tracegen.workload.shapes import Result


class Api(Protocol):
    """One API from a client's side. Requests raise what a Connection does.

    delete_kind: what a delete of the current object is in the history: `mark` where it leaves a delete marker.
    is_versioned: does each write make a version of its own? lists: the kinds of lists that the last look asks for.
    """

    delete_kind: Kind
    is_versioned: bool
    lists: tuple[Kind, ...]

    async def begin(self, cluster: Cluster) -> None:
        """Make what the load needs, before it begins."""

    async def prepare(self, connection: Connection, write: Write, deadline_s: float) -> Write | Result:
        """Send what a write needs beforehand, which changes nothing by itself; the Result if that was refused."""
        ...

    async def write(self, connection: Connection, write: Write, deadline_s: float) -> Result: ...

    async def read(self, connection: Connection, read: Read) -> Result: ...


def api_of(scenario: Scenario) -> Api:
    """What the clients of a scenario speak."""
    if scenario.workload.api == "s3":
        return S3(scenario.bucket, scenario.workload.versioning)
    return Native()
