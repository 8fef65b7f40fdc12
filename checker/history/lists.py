"""Lists that tell no generations, and copies: what they show was there at some moment between invoke and return."""

from collections.abc import Iterable, Mapping, Sequence

from checker.history.generations import NULL_VERSION, Content, Generation, Known, Sighting
from checker.history.order import Order
from checker.history.preconditions import is_live
from checker.operations import ListedVersion, Operation

Judged = Mapping[str, Order]


def paths_in(lists: Iterable[Operation]) -> set[str]:
    """Every path that one of these lists has."""
    found: set[str] = set()
    for each in lists:
        found.update(path for path, _ in each.listed or ())
        found.update(version.path for version in each.versions or ())
    return found


def check(judged: Judged, lists: Sequence[Operation]) -> None:
    """Hold each list against each path that it should have. What it says of versions is left for versions.check."""
    for operation in lists:
        if operation.listed is not None:
            _check_objects(judged, operation, dict(operation.listed))
        elif operation.versions is not None:
            by_path: dict[str, list[ListedVersion]] = {}
            for version in operation.versions:
                by_path.setdefault(version.path, []).append(version)
            for path, order in judged.items():
                if path.startswith(operation.path):
                    _see_versions(order, operation, by_path.get(path, []))


def _check_objects(judged: Judged, operation: Operation, etags: Mapping[str, str]) -> None:
    for path, order in judged.items():
        if not path.startswith(operation.path):
            continue
        etag = etags.get(path)

        def shows(number: int, generation: Generation, etag: str | None = etag) -> bool:
            live = is_live(number, generation)
            if etag is None:
                return live is not True
            return live is not False and generation.etag in (None, etag)

        if not order.may_have_found(operation, shows):
            what = "not there" if etag is None else f"there with etag {etag}"
            order.known.fault(
                "listed-rightly",
                f"{operation.id} (list) was told that the path is {what}, which it was not at any moment meanwhile",
                operation,
            )


def _see_versions(order: Order, operation: Operation, listed: Sequence[ListedVersion]) -> None:
    known = order.known
    first, last = order.numbers[order.window(operation)[0]], order.newest_in(operation)
    there = {version.version for version in listed}
    for version in listed:
        if version.version != NULL_VERSION:
            _see(known, Sighting(version.version, True, first, last, operation), version)
    for version_id in known.made_versions.keys() - there:
        known.sightings.append(Sighting(version_id, False, first, last, operation))


def _see(known: Known, sighting: Sighting, version: ListedVersion) -> None:
    known.sightings.append(sighting)
    known.made_versions.setdefault(version.version, sighting.operation)
    known.show(version.version, Content(version.deleted, version.etag), sighting.operation)


def check_copies(judged: Judged, copies: Sequence[Operation]) -> None:
    """A copy has the content that its source had. One of an upload in parts has another etag, but the same bytes."""
    for copy in copies:
        assert copy.generation is not None and copy.source is not None
        made = judged[copy.path].known.generations[copy.generation]

        def is_source(number: int, generation: Generation, made: Generation = made) -> bool:
            has_etag = made.etag is None or generation.etag in (None, made.etag) or "-" in (generation.etag or "")
            has_bytes = made.sha256 is None or generation.sha256 in (None, made.sha256)
            return is_live(number, generation) is not False and has_etag and has_bytes

        if not judged[copy.source].may_have_found(copy, is_source):
            judged[copy.path].known.fault(
                "copied-rightly",
                f"{copy.id} (copy) made generation {copy.generation} with etag {made.etag}, "
                f"which {copy.source} had not at any moment meanwhile",
                copy,
            )
