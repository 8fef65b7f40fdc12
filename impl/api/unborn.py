"""What a node answers that does not know its life yet (impl/node/birth.py): that it serves nobody, and why."""

from collections.abc import Callable, Sequence

from impl.api.http.exchange import Answer, Operation, Request
from impl.api.http.routes import Route
from impl.errors import NotReady


def nothing_but(routes: Sequence[Route], why: Callable[[], str]) -> Callable[[Request], Operation]:
    """Which operation answers a request: one of `routes`, whose patterns are plain paths, or an error that says why."""
    served = {(route.pattern, method): kept for route in routes for method, kept in route.operations.items()}

    async def refuse(request: Request) -> Answer:
        raise NotReady(why())

    refusal = Operation("unborn", refuse)
    return lambda request: served.get((request.path, request.method), refusal)
