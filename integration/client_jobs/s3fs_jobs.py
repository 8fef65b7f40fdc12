"""What is done with s3fs: fsspec's face of S3, on aiobotocore."""

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import s3fs
from job import KEY_ID, MIB, SECRET, answer, md5, pieces


def client(url: str) -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(
        key=KEY_ID,
        secret=SECRET,
        endpoint_url=url,
        client_kwargs={"region_name": "us-east-1"},
        config_kwargs={"s3": {"addressing_style": "path"}},
        use_listings_cache=False,
        skip_instance_cache=True,
    )


def tree_up(url: str, bucket: str, root: str) -> None:
    client(url).put(f"{root}/", f"{bucket}/", recursive=True)


def tree_down(url: str, bucket: str, root: str) -> None:
    client(url).get(f"{bucket}/", f"{root}/", recursive=True)


def large_up(url: str, bucket: str, key: str, path: str) -> None:
    """Write an object as one writes a file: it goes out in parts while it is written."""
    with client(url).open(f"{bucket}/{key}", "wb", block_size=8 * MIB) as there:
        for piece in pieces(path):
            there.write(piece)


def large_down(url: str, bucket: str, key: str, path: str) -> None:
    """Read an object as one reads a file, from its beginning."""
    with client(url).open(f"{bucket}/{key}", "rb", block_size=8 * MIB) as there, open(path, "wb") as here:
        while piece := there.read(MIB):
            here.write(piece)


def reads(url: str, bucket: str, key: str, spans: list[tuple[int, int]]) -> list[str]:
    """The MD5s of pieces (start, length) of an open file, one after another; of every fourth by reading ahead."""
    there, found = client(url), []
    with (
        there.open(f"{bucket}/{key}", "rb", cache_type="none") as exact,
        there.open(f"{bucket}/{key}", "rb", block_size=MIB, cache_type="readahead") as ahead,
    ):
        for number, (start, length) in enumerate(spans):
            file = exact if number % 4 else ahead
            file.seek(start)
            found.append(md5(file.read(length)))
    return found


def files(url: str, bucket: str, path: str) -> dict[str, Any]:
    """What one does with a file system; what it saw."""
    there, root = client(url), f"{bucket}/größe/a+b & c"
    there.put_file(path, f"{root}/first", ContentType="text/x-ours", Metadata={"made-by": "us"})
    there.pipe({f"{root}/{name}": name.encode() for name in ("1", "2", "e\u0301", "\u00e9")})
    there.copy(f"{root}/first", f"{root}/deep/second")
    there.mv(f"{root}/1", f"{root}/moved")
    with there.open(f"{root}/2", "ab") as file:
        file.write(b" appended")
    there.touch(f"{root}/empty")
    seen: dict[str, Any] = {
        "ls": sorted(name.removeprefix(root) for name in there.ls(root)),
        "find": sorted(name.removeprefix(root) for name in there.find(bucket)),
        "glob": sorted(name.removeprefix(root) for name in there.glob(f"{root}/**/second")),
        "du": there.du(root),
        "info": there.info(f"{root}/first")["size"],
        "metadata": there.metadata(f"{root}/first"),
        "isdir": [there.isdir(f"{root}/deep"), there.isdir(f"{root}/2"), there.exists(f"{root}/never")],
        "appended": there.cat(f"{root}/2").decode(),
        "ranges": [piece.decode() for piece in there.cat_ranges([f"{root}/2"] * 2, [0, 2], [1, 6])],
        "lent": there.sign(f"{root}/first", expiration=60),
    }
    there.rm(root, recursive=True)
    seen["left"] = there.find(bucket)
    return seen


def race(urls: list[str], bucket: str, keys: list[str], racers: int) -> dict[str, list[int]]:
    """Let writers make each key at once through all nodes, if it is not there; for each key, who did."""
    clients = [client(url) for url in urls]

    def make(key: str, number: int, at_once: threading.Barrier) -> bool:
        at_once.wait()
        try:
            clients[number % len(clients)].pipe_file(f"{bucket}/{key}", b"%d" % number, mode="create")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(racers) as threads:
        found = {}
        for key in keys:
            at_once = threading.Barrier(racers)
            made = [threads.submit(make, key, number, at_once) for number in range(racers)]
            found[key] = [number for number, future in enumerate(made) if future.result()]
    return found


if __name__ == "__main__":
    answer(globals())
