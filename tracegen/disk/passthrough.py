"""Mounts a platter: `python -m tracegen.disk.passthrough DIRECTORY MOUNTPOINT SECONDS`, a process for one disk.

A line `cut` on its input takes away what was not synced, and is answered by a number: how much that was; nobody may
have files open there then. Every so many seconds all is written back, as a kernel does after a while: so a disk that is
never synced loses the last second, not all that ever was; `hold` puts that off until the cut. At the end of its input
it unmounts and ends, so that no mount outlives the harness.
"""

import ctypes
import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, Final

from tracegen.disk.platter import Platter

NO_FUSE: Final = 3
_DETACH: Final = 2
_TOLD_OF_FILES: Final = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_blocks", "st_blksize", "st_ino")
_TIMES: Final = ("st_atime_ns", "st_mtime_ns", "st_ctime_ns")
_TOLD_OF_DISKS: Final = (
    *("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail"),
    *("f_ffree", "f_files", "f_flag", "f_frsize", "f_namemax"),
)

try:
    import mfusepy
except (ImportError, OSError) as error:  # the latter: no libfuse
    if __name__ == "__main__":
        print(f"disks that lose their power need FUSE ({error}); install mfusepy, and Debian's fuse3", file=sys.stderr)
        sys.exit(NO_FUSE)
    raise


class Passthrough(mfusepy.Operations):  # type: ignore[misc]  # has no types
    """What the kernel asks for, done to a platter."""

    use_ns = True

    def __init__(self, platter: Platter) -> None:
        self._platter = platter

    def _at(self, path: str) -> Path:
        return self._platter.root / path.lstrip("/")

    def init_with_config(self, conn_info: Any, config: Any) -> None:
        """Nothing is remembered of names and sizes: a cut changes them behind the kernel's back."""
        if config is not None:
            config.attr_timeout = config.entry_timeout = config.negative_timeout = 0.0

    # -- what is there

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        found = os.fstat(fh) if fh else os.lstat(self._at(path))
        return {name: getattr(found, name) for name in _TOLD_OF_FILES} | {
            name.removesuffix("_ns"): getattr(found, name) for name in _TIMES
        }

    def readdir(self, path: str, fh: int) -> list[str]:
        return [".", "..", *os.listdir(self._at(path))]  # noqa: PTH208

    def statfs(self, path: str) -> dict[str, int]:
        found = os.statvfs(self._platter.root)
        return {name: getattr(found, name) for name in _TOLD_OF_DISKS}

    def access(self, path: str, amode: int) -> int:
        if not os.access(self._at(path), amode):
            raise mfusepy.FuseOSError(errno.EACCES)
        return 0

    # -- files

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        handle = os.open(self._at(path), os.O_RDWR | os.O_CREAT, mode)
        self._platter.made(self._at(path))
        return handle

    def open(self, path: str, flags: int) -> int:
        # the kernel has done what O_APPEND and O_TRUNC ask for; a handle that only reads cannot remember what was there
        return os.open(self._at(path), os.O_RDWR)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        return self._platter.write(fh, data, offset)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        handle = fh or os.open(self._at(path), os.O_RDWR)
        try:
            self._platter.truncate(handle, length)
        finally:
            if not fh:
                os.close(handle)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        self._platter.sync(fh, self._at(path))
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    # -- names

    def mkdir(self, path: str, mode: int) -> int:
        self._at(path).mkdir(mode)
        self._platter.made(self._at(path))
        return 0

    def link(self, target: str, source: str) -> int:
        """`target` is the new name."""
        os.link(self._at(source), self._at(target))
        self._platter.made(self._at(target))
        return 0

    def rmdir(self, path: str) -> int:
        self._platter.rmdir(self._at(path))
        return 0

    def rename(self, old: str, new: str) -> int:
        self._platter.rename(self._at(old), self._at(new))
        return 0

    def unlink(self, path: str) -> int:
        self._platter.unlink(self._at(path))
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        self._platter.sync_directory(self._at(path))
        return 0

    def chmod(self, path: str, mode: int) -> int:
        self._at(path).chmod(mode)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._at(path), uid, gid)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        os.utime(self._at(path), ns=times) if times else os.utime(self._at(path))
        return 0


def main() -> None:
    """Serve until the harness hangs up."""
    *paths, write_back_s = sys.argv[1:]
    directory, mountpoint = map(Path, paths)
    platter = Platter(directory, directory.with_name(directory.name + ".aside"))
    threading.Thread(target=_obey, args=(platter, mountpoint), daemon=True).start()
    threading.Thread(target=_write_back, args=(platter, float(write_back_s)), daemon=True).start()
    options = {"allow_other": True} if os.getuid() == 0 else {}
    mfusepy.FUSE(Passthrough(platter), str(mountpoint), foreground=True, nothreads=True, fsname="amberio", **options)


def _obey(platter: Platter, mountpoint: Path) -> None:
    for line in sys.stdin:
        match line.strip():
            case "hold":
                platter.hold()
            case "cut":
                print(platter.cut(), flush=True)
    _unmount(mountpoint)


def _write_back(platter: Platter, every_s: float) -> None:
    while True:
        time.sleep(every_s)
        platter.write_back()


def _unmount(mountpoint: Path) -> None:
    if os.getuid() == 0:
        ctypes.CDLL(None).umount2(str(mountpoint).encode(), _DETACH)
    else:
        subprocess.run(["fusermount3", "-u", "-z", str(mountpoint)], check=False)


if __name__ == "__main__":
    main()
