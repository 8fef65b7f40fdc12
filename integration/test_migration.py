"""A node that is started on the data of an older version goes on with all of it; row B7."""

import contextlib
import random
import subprocess
import sys
from pathlib import Path

import apsw
import pytest

from impl.errors import AmberioError, DiskFull
from impl.storage import database, migrate
from impl.storage.tests.old import make_old, old_registers, old_rows
from integration.cluster import Nodes, running
from tracegen.backend.sim.vfs import SimDisk

COLUMNS_OF_FORMAT_1 = [
    "path",
    "slot",
    "promised_round",
    "promised_node",
    "accepted_round",
    "accepted_node",
    "head",
    "body",
]
LARGE = bytes(range(256)) * 40_000


def to_format_1(file: Path) -> None:
    """Take from a database all that came after format 1."""
    connection = apsw.Connection(str(file))
    names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (name,) in names:
        if name not in ("node", "registers", "events"):
            connection.execute(f"DROP TABLE {name}")
    for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'index' AND sql != ''").fetchall():
        connection.execute(f"DROP INDEX {name}")
    for _, column, *_ in connection.execute("PRAGMA table_info(registers)").fetchall():
        if column not in COLUMNS_OF_FORMAT_1:
            connection.execute(f"ALTER TABLE registers DROP COLUMN {column}")
    connection.execute("DELETE FROM node WHERE key NOT IN ('incarnation', 'rounds')")
    connection.pragma("user_version", 1)
    connection.close()


def test_nodes_go_on_with_the_data_of_an_older_version_and_not_if_they_are_told_not_to_migrate(tmp_path: Path) -> None:
    bodies = {f"old/{number}": b"%d" % number if number % 4 else LARGE + b"%d" % number for number in range(12)}
    with running(Nodes(tmp_path, 3)) as nodes:
        for path, body in bodies.items():
            assert nodes.put("n1", path, body).status == 201
        for name in nodes.names:
            assert nodes.stop(name) == 0
            to_format_1(nodes.disk(name) / "registers.db")

        command = [sys.executable, "-m", "impl.server", "--config", str(nodes.config("n2")), "--node", "n2"]
        refused = subprocess.run([*command, "--no-migrate"], capture_output=True, text=True, timeout=30, check=False)
        assert refused.returncode == 2
        assert "registers.db: has format 1" in refused.stderr and "without --no-migrate" in refused.stderr

        nodes.start()
        for path, body in bodies.items():
            got = nodes.get("n3", path)
            assert (got.status, got.body == body) == (200, True)
        assert nodes.put("n2", "new", b"x").status == 201
        for name in nodes.names:
            assert migrate.backup_of(nodes.disk(name) / "registers.db", 1).exists()
            assert nodes.log(name).count('"migrated the data"') == 1


@pytest.mark.parametrize("seed", range(20))
def test_a_simulated_disk_is_migrated_through_kills_and_power_cuts(tmp_path: Path, seed: int) -> None:
    draw = random.Random(seed)
    disk = SimDisk(f"migration-{seed}", draw)
    file = tmp_path / "registers.db"
    try:
        make_old(file, old_rows(), is_log_left=seed % 2 == 0, vfs=disk.vfs)
        for writes in (draw.randrange(40), draw.randrange(40)):
            disk.break_off_after(writes)
            with contextlib.suppress(AmberioError):  # the dead may find that what they wrote is not there
                database.open_database(file, vfs=disk.vfs).close()
            if draw.random() < 0.7:
                disk.cut_power()
            disk.let_go()
        connection = database.open_database(file, vfs=disk.vfs)
        assert connection.pragma("user_version") == migrate.FORMAT
        for path, register in old_registers().items():
            assert database.read(connection, path) == register
        connection.close()
    finally:
        disk.close()
    assert not list(tmp_path.iterdir())


def test_a_simulated_disk_without_room_for_the_backup_keeps_its_format(tmp_path: Path) -> None:
    disk = SimDisk("migration-full", random.Random(0))
    file = tmp_path / "registers.db"
    try:
        make_old(file, old_rows(), vfs=disk.vfs)
        disk.room_bytes = 6000
        with pytest.raises(DiskFull, match="no room for a backup"):
            database.open_database(file, vfs=disk.vfs)
        disk.room_bytes = None
        connection = apsw.Connection(str(file), vfs=disk.vfs)
        connection.pragma("locking_mode", "exclusive")
        assert connection.pragma("user_version") == 1
        connection.close()
        database.open_database(file, vfs=disk.vfs).close()
    finally:
        disk.close()
