"""Which operation a URL and a method name. A route says it once; Tornado and the direct path both read it here."""

from collections.abc import Callable

import msgspec

from impl.api.http.exchange import Operation, Request


class Route(msgspec.Struct, frozen=True):
    """A path pattern (regular expression over the percent-encoded path) and its operations by method.

    `hot_prefix`, `hot_path` or `hot_elsewhere`: its operations may take the direct path. The one is a start of the
    URL's path, the other all of it; the last is for what is served wherever a path has none of these starts.
    `owns_host` says of the Host header whether all that is asked of that host is for this route: it comes before paths.
    """

    pattern: str
    operations: dict[str, Operation]
    hot_prefix: str = ""
    hot_path: str = ""
    hot_elsewhere: tuple[str, ...] = ()
    owns_host: Callable[[str], bool] | None = None

    def owns(self, host: bytes | None) -> bool:
        """Is a request to this host for this route, whatever its path is?"""
        return self.owns_host is not None and host is not None and self.owns_host(host.decode("latin-1"))


class HotRoutes:
    """Finds the few hot operations without regular expressions; None for everything else."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._hosts = tuple(route for route in routes if route.owns_host is not None)
        self._prefixes = tuple((route.hot_prefix, route.operations) for route in routes if route.hot_prefix)
        self._paths = {route.hot_path: route.operations for route in routes if route.hot_path}
        self._elsewhere = next((route for route in routes if route.hot_elsewhere), None)

    def __call__(self, request: Request) -> Operation | None:
        for route in self._hosts:
            if route.owns(request.headers.get(b"host")):
                return route.operations.get(request.method)
        for prefix, operations in self._prefixes:
            if request.path.startswith(prefix):
                return operations.get(request.method)
        named = self._paths.get(request.path)
        if named is not None:
            return named.get(request.method)
        if self._elsewhere is None or request.path.startswith(self._elsewhere.hot_elsewhere):
            return None
        return self._elsewhere.operations.get(request.method)


def none_hot(request: Request) -> Operation | None:
    """Everything goes through Tornado: for the tests that hold both ways to one behaviour."""
    return None
