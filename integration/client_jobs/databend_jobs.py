"""What is done with Databend: a column store with tables in a bucket; its catalogue is in the working directory."""

from typing import Any

from databend import SessionContext
from job import KEY_ID, SECRET, answer

BATCH_ROWS = 50_000


class Session:
    """Speaks SQL; table `t` is what is told."""

    def __init__(self) -> None:
        self._context = SessionContext()

    def rows(self, statement: str) -> list[dict[str, Any]]:
        return [row for batch in self._context.sql(statement).to_py_arrow() for row in batch.to_pylist()]

    def do(self, statement: str) -> None:
        self._context.sql(statement).collect()


def connection(url: str) -> str:
    options = {"endpoint_url": url, "access_key_id": KEY_ID, "secret_access_key": SECRET, "region": "us-east-1"}
    return f"connection = ({' '.join(f'{name} = {value!r}' for name, value in options.items())})"


def _read(session: Session) -> dict[str, Any]:
    states = session.rows("select state, count(*) as n, sum(number) as total from t group by state order by state")
    few = session.rows("select number, text from t where number % 9973 = 0 order by number")
    return {
        "states": {each["state"]: [each["n"], each["total"]] for each in states},
        "few": [[each["number"], each["text"]] for each in few],
    }


def write(url: str, location: str, batches: int) -> dict[str, Any]:
    """Make a table at a location, insert batches of rows, update and delete some, compact.

    Where it is there, how many rows each snapshot has, oldest first, and what is in it.
    """
    session = Session()
    session.do(f"create table t (number bigint unsigned, state string, text string) '{location}' {connection(url)}")
    for batch in range(batches):
        first = batch * BATCH_ROWS
        numbers = f"(select number + {first} as n from numbers({BATCH_ROWS}))"
        session.do(f"insert into t select n, 'new', sha2(to_string(n), 256) from {numbers}")
    session.do("update t set state = 'updated' where number < 1000")
    session.do("delete from t where number >= 1000 and number < 3000")
    session.do("optimize table t compact")
    snapshots = session.rows("select snapshot_location as location, row_count as n from fuse_snapshot('default', 't')")
    within = snapshots[0]["location"].split("/_ss/")[0]
    return {"within": within, "snapshots": [each["n"] for each in reversed(snapshots)], "holds": _read(session)}


def attach(url: str, location: str) -> dict[str, Any]:
    """What is in a table that this database has never seen, by the objects at its location alone."""
    session = Session()
    session.do(f"attach table t '{location}' {connection(url)}")
    return _read(session)


if __name__ == "__main__":
    answer(globals())
