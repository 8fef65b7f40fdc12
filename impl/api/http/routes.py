"""Which operation a URL and a method name. A route says it once; Tornado and the direct path both read it here."""

import msgspec

from impl.api.http.exchange import Operation, Request


class Route(msgspec.Struct, frozen=True):
    """A path pattern (regular expression over the percent-encoded path) and its operations by method.

    `hot_prefix` or `hot_path`: its operations may take the direct path; the one is a start of the URL's path, the
    other all of it.
    """

    pattern: str
    operations: dict[str, Operation]
    hot_prefix: str = ""
    hot_path: str = ""


class HotRoutes:
    """Finds the few hot operations without regular expressions; None for everything else."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._prefixes = tuple((route.hot_prefix, route.operations) for route in routes if route.hot_prefix)
        self._paths = {route.hot_path: route.operations for route in routes if route.hot_path}

    def __call__(self, request: Request) -> Operation | None:
        for prefix, operations in self._prefixes:
            if request.path.startswith(prefix):
                return operations.get(request.method)
        operations = self._paths.get(request.path, {})
        return operations.get(request.method)


def none_hot(request: Request) -> Operation | None:
    """Everything goes through Tornado: for the tests that hold both ways to one behaviour."""
    return None
