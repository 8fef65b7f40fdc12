"""What is done with PyArrow's S3 file system, which is the AWS SDK for C++."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds
from job import KEY_ID, SECRET, answer, files, md5, pieces
from pyarrow import fs

DAYS = ("2026-01-01", "2026 01 02", "größe+3")


def client(url: str) -> fs.S3FileSystem:
    return fs.S3FileSystem(
        access_key=KEY_ID,
        secret_key=SECRET,
        region="us-east-1",
        scheme="http",
        endpoint_override=url.removeprefix("http://"),
        allow_bucket_creation=True,
        allow_bucket_deletion=True,
        check_directory_existence_before_creation=True,
    )


def tree_up(url: str, bucket: str, root: str) -> int:
    """Write every file below `root` there, eight at a time, each as a stream: an upload in parts; how many."""
    there = client(url)

    def write(file: tuple[str, Path]) -> None:
        name, path = file
        with there.open_output_stream(f"{bucket}/{name}") as stream:
            stream.write(path.read_bytes())

    with ThreadPoolExecutor(8) as threads:
        return len(list(threads.map(write, files(root))))


def tree_down(url: str, bucket: str, root: str) -> None:
    """Copy the whole bucket here, by eight threads of PyArrow's own."""
    Path(root).mkdir()
    fs.copy_files(bucket, root, source_filesystem=client(url), destination_filesystem=fs.LocalFileSystem())


def large_up(url: str, bucket: str, key: str, path: str) -> None:
    """Write an object as a stream: it goes out in parts, in the background."""
    with client(url).open_output_stream(f"{bucket}/{key}", buffer_size=1024 * 1024) as there:
        for piece in pieces(path):
            there.write(piece)


def large_down(url: str, bucket: str, key: str, path: str) -> None:
    with client(url).open_input_stream(f"{bucket}/{key}", buffer_size=1024 * 1024) as there, open(path, "wb") as here:
        while piece := there.read(4 * 1024 * 1024):
            here.write(piece)


def reads(url: str, bucket: str, key: str, spans: list[tuple[int, int]]) -> list[str]:
    """The MD5s of pieces (start, length) of an open file."""
    with client(url).open_input_file(f"{bucket}/{key}") as there:
        return [md5(there.read_at(length, start)) for start, length in spans]


def table(rows: int) -> pa.Table:
    numbers = pa.array(range(rows), pa.int64())
    days = pa.DictionaryArray.from_arrays(pa.array([row % 3 for row in range(rows)], pa.int32()), pa.array(DAYS))
    return pa.table({"number": numbers, "square": pc.multiply(numbers, numbers), "day": days.cast(pa.string())})


def write_dataset(url: str, bucket: str, rows: int) -> int:
    """Write a table below `set/`, partitioned by day, in files of a tenth; how many bytes it has in memory."""
    written = table(rows)
    ds.write_dataset(
        written,
        f"{bucket}/set",
        filesystem=client(url),
        format="parquet",
        partitioning=ds.partitioning(pa.schema([("day", pa.string())]), flavor="hive"),
        max_rows_per_file=max(1, rows // 10),
        max_rows_per_group=max(1, rows // 10),
    )
    return written.nbytes


def read_dataset(url: str, bucket: str, rows: int) -> dict[str, Any]:
    """Read it back, whole and filtered."""
    found = ds.dataset(f"{bucket}/set", filesystem=client(url), format="parquet", partitioning="hive")
    few = found.to_table(filter=(ds.field("day") == DAYS[2]) & (ds.field("number") < 30), columns=["square"])
    whole = found.to_table(columns=["number", "square", "day"]).sort_by("number")
    return {
        "files": len(found.files),
        "few": sorted(few["square"].to_pylist()),
        "same": whole.equals(table(rows)),
        "days": found.count_rows(filter=ds.field("day") == DAYS[1]),
    }


def file_system(url: str, bucket: str, other: str) -> dict[str, Any]:
    """What one does with a file system; what it saw."""
    there = client(url)
    there.create_dir(other)
    there.create_dir(f"{bucket}/deep/er/est", recursive=True)
    with there.open_output_stream(f"{bucket}/deep/a+b & größe", metadata={"Content-Type": "text/x-ours"}) as stream:
        stream.write(b"ours")
    there.copy_file(f"{bucket}/deep/a+b & größe", f"{bucket}/deep/er/copied")
    there.move(f"{bucket}/deep/er/copied", f"{other}/moved")
    kinds = {info.path: info.type.name for info in there.get_file_info(fs.FileSelector(bucket, recursive=True))}
    with there.open_input_stream(f"{bucket}/deep/a+b & größe") as stream:
        metadata = stream.metadata()
    never = there.get_file_info(f"{bucket}/never").type.name
    there.delete_dir_contents(f"{bucket}/deep")
    left = [info.path for info in there.get_file_info(fs.FileSelector(bucket, recursive=True))]
    moved = there.get_file_info(f"{other}/moved").size
    there.delete_dir(other)
    return {
        "kinds": kinds,
        "content_type": dict(metadata)["Content-Type"].decode(),
        "never": never,
        "left": left,
        "moved": moved,
        "gone": there.get_file_info(other).type.name,
    }


if __name__ == "__main__":
    answer(globals())
