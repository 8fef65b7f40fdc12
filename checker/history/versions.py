"""Versions: each is there, with its content, from the generation that made it until a delete of it took effect.

A version is named by its generation, so what somebody was told of it at a generation is a fact about an interval. The
null version has no name: writes replace it, and it may come back; nothing is judged of it here.
"""

from bisect import bisect_right

from checker.history.generations import NULL_VERSION, Sighting, returned_us
from checker.history.order import Order
from checker.operations import Operation

At = dict[int, tuple[int, Operation]]
"""Of each version a generation, and who was told."""


def check(order: Order) -> None:
    """Hold all that was said of versions against each other, and against the deletes of them."""
    alive, gone = _check_sightings(order)
    _check_gone(order, alive, gone)
    _check_current(order, alive)


def _check_sightings(order: Order) -> tuple[At, At]:
    """Of each version, up to where it was there, and from where on it was not."""
    known = order.known
    alive: At = {version: (version, operation) for version, operation in known.made_versions.items()}
    gone: At = {}
    for version, deletes in known.version_deletes.items():
        for delete in deletes:
            # one that was told less came before anybody made that version
            if delete.generation is not None and NULL_VERSION < version <= delete.generation:
                _keep_least(gone, version, delete.generation, delete)
    for sighting in known.sightings:
        if sighting.is_there:
            if sighting.version > sighting.last:
                known.fault(
                    "version-made",
                    f"{sighting.operation.id} was told of version {sighting.version} at generation {sighting.last}, "
                    "before it can have been made",
                    sighting.operation,
                )
            _keep_most(alive, sighting.version, max(sighting.first, sighting.version), sighting.operation)
        elif sighting.version in known.made_versions and sighting.version <= sighting.first:
            _check_kept(order, sighting)
            _keep_least(gone, sighting.version, sighting.last, sighting.operation)
    return alive, gone


def _check_kept(order: Order, sighting: Sighting) -> None:
    """A version that is not there any more was deleted by its id, by somebody who had begun by then."""
    if not _may_be_gone(order, sighting.version, sighting.last, sighting.operation):
        made = order.known.made_versions[sighting.version]
        order.known.fault(
            "version-kept",
            f"{sighting.operation.id} ({sighting.operation.kind}) did not find version {sighting.version}, of which "
            f"{made.id} had been told, and nobody can have deleted it by then",
            sighting.operation,
            made,
        )


def _may_be_gone(order: Order, version: int, generation: int, reader: Operation) -> bool:
    """Can somebody have deleted this version when the reader found this generation?"""
    for delete in order.known.version_deletes.get(version, ()):
        if delete.generation is None and delete.invoke_us <= returned_us(reader):
            return True
        if delete.generation is not None and delete.generation <= generation:
            return True
    return False


def _check_gone(order: Order, alive: At, gone: At) -> None:
    for version in sorted(alive.keys() & gone.keys()):
        (there, shown_to), (left, told) = alive[version], gone[version]
        if there >= left:
            order.known.fault(
                "version-gone",
                f"{shown_to.id} was told that version {version} is there at generation {there}, but {told.id} "
                f"({told.kind}) that it is gone at generation {left}",
                shown_to,
                told,
            )


def _check_current(order: Order, alive: At) -> None:
    """The current version is the newest one that is there."""
    known = order.known
    versions = sorted(alive)
    for (number, current), reader in known.currents.items():
        if current == NULL_VERSION or (current is None and not reader.deleted):
            continue
        newer = versions[bisect_right(versions, current or 0) : bisect_right(versions, number)]
        for version in reversed(newer):
            if alive[version][0] < number and _may_be_gone(order, version, number, reader):
                continue
            told = alive[version][1]
            known.fault(
                "newest-is-current",
                f"{reader.id} was told at generation {number} that version {current or 'none'} is the current one, "
                f"but version {version}, of which {told.id} was told, must have been there",
                reader,
                told,
            )
            break


def _keep_least(at: At, version: int, generation: int, operation: Operation) -> None:
    if version not in at or generation < at[version][0]:
        at[version] = (generation, operation)


def _keep_most(at: At, version: int, generation: int, operation: Operation) -> None:
    if version not in at or generation > at[version][0]:
        at[version] = (generation, operation)
