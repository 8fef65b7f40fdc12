"""What is done with obstore, which is Rust's object_store."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import obstore
from job import KEY_ID, MIB, SECRET, answer, files, md5, pieces
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import S3Store


def client(url: str, bucket: str, **config: str) -> S3Store:
    return S3Store(
        bucket,
        endpoint=url,
        access_key_id=KEY_ID,
        secret_access_key=SECRET,
        region="us-east-1",
        virtual_hosted_style_request=False,
        client_options={"allow_http": True},
        **config,
    )


def tree_up(url: str, bucket: str, root: str) -> int:
    """Put every file below `root`, eight at a time; how many."""
    there = client(url, bucket)
    with ThreadPoolExecutor(8) as threads:
        sent = list(threads.map(lambda file: obstore.put(there, file[0], file[1]), files(root)))
    return len(sent)


def tree_down(url: str, bucket: str, root: str) -> int:
    """Get every object of the bucket, eight at a time; how many."""
    there = client(url, bucket)
    keys = [item["path"] for page in obstore.list(there, chunk_size=100) for item in page]

    def get(key: str) -> None:
        path = Path(root) / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(obstore.get(there, key).bytes())

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(get, keys))
    return len(keys)


def large_up(url: str, bucket: str, key: str, path: str) -> None:
    """Stream a file out in parts, with a SHA-256 of each."""
    there = client(url, bucket, checksum_algorithm="SHA256")
    obstore.put(there, key, pieces(path), chunk_size=8 * MIB, max_concurrency=4)


def large_down(url: str, bucket: str, key: str, path: str) -> None:
    """Stream an object in."""
    with open(path, "wb") as here:
        for piece in obstore.get(client(url, bucket), key).stream(min_chunk_size=MIB):
            here.write(piece)


def reads(url: str, bucket: str, key: str, spans: list[tuple[int, int]]) -> list[str]:
    """The MD5s of pieces (start, length) of an object: half asked for one by one, half together."""
    there, half = client(url, bucket), len(spans) // 2
    alone = [obstore.get_range(there, key, start=start, length=length) for start, length in spans[:half]]
    starts, lengths = zip(*spans[half:], strict=True)
    together = obstore.get_ranges(there, key, starts=starts, lengths=lengths)
    return [md5(bytes(piece)) for piece in (*alone, *together)]


def objects(url: str, bucket: str, keys: list[str]) -> dict[str, Any]:
    """Everything else that it has for objects; what it saw."""
    there = client(url, bucket)
    attributes = {"Content-Type": "text/x-ours", "Content-Disposition": "inline", "made-by": "us"}
    for key in keys:
        obstore.put(there, key, key.encode(), attributes=attributes)
    got = obstore.get(there, keys[0])
    obstore.copy(there, keys[0], "copied")
    obstore.rename(there, "copied", "renamed")
    page = obstore.list_with_delimiter(there, "folder")
    seen = {
        "pages": [len(page) for page in obstore.list(there, "folder", chunk_size=2)],
        "after": sorted(item["path"] for page in obstore.list(there, offset="folder/z") for item in page),
        "prefixes": sorted(page["common_prefixes"]),
        "objects": sorted(item["path"] for item in page["objects"]),
        "attributes": {str(name): value for name, value in got.attributes.items()},
        "renamed": bytes(obstore.get(there, "renamed").bytes()).decode(),
        "lent": obstore.sign(there, "GET", "renamed", expires_in=timedelta(minutes=1)),
        "size": obstore.head(there, "renamed")["size"],
    }
    obstore.delete(there, keys)
    seen["left"] = [item["path"] for page in obstore.list(there) for item in page]
    return seen


def race(urls: list[str], bucket: str, keys: list[str], racers: int) -> dict[str, list[int]]:
    """Let writers make each key at once through all nodes, if it is not there; for each key, who did."""
    clients = [client(url, bucket) for url in urls]

    def make(key: str, number: int, at_once: threading.Barrier) -> bool:
        at_once.wait()
        try:
            obstore.put(clients[number % len(clients)], key, b"%d" % number, mode="create")
        except AlreadyExistsError:
            return False
        return True

    with ThreadPoolExecutor(racers) as threads:
        found = {}
        for key in keys:
            at_once = threading.Barrier(racers)
            made = [threads.submit(make, key, number, at_once) for number in range(racers)]
            found[key] = [number for number, future in enumerate(made) if future.result()]
    return found


def append(urls: list[str], bucket: str, key: str, writers: int, each: int) -> dict[str, list[str]]:
    """Let writers append tokens to a list, each by reading it and putting it back if it has not changed since.

    Which tokens were acknowledged, which refused (it had changed), and of which the outcome is not known. A writer goes
    on until `each` of its own are acknowledged.
    """
    clients = [client(url, bucket) for url in urls]
    obstore.put(clients[0], key, b"[]")
    outcomes: dict[str, list[str]] = {"acknowledged": [], "refused": [], "unknown": []}

    def write(number: int) -> None:
        there, tries, done = clients[number % len(clients)], 0, 0
        while done < each:
            got = obstore.get(there, key)
            token = f"{number}.{tries}"
            tries += 1
            body = json.dumps([*json.loads(bytes(got.bytes())), token]).encode()
            try:
                obstore.put(there, key, body, mode={"e_tag": got.meta["e_tag"]})
            except PreconditionError:
                outcomes["refused"].append(token)
            except BaseError:
                outcomes["unknown"].append(token)
            else:
                outcomes["acknowledged"].append(token)
                done += 1

    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(write, range(writers)))
    return outcomes


if __name__ == "__main__":
    answer(globals())
