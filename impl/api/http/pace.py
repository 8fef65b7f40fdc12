"""Whether a client moves bytes fast enough. Pure: the time and the count of bytes come in."""


class Pace:
    """Looks at a count of bytes now and then, and forgets what is too long ago to excuse the present."""

    def __init__(self) -> None:
        self._since_s = 0.0
        self._from_bytes = 0

    def start(self, now_s: float, moved_bytes: int) -> None:
        """What came before does not count: the client could do nothing, or did enough."""
        self._since_s = now_s
        self._from_bytes = moved_bytes

    def is_slow(self, now_s: float, moved_bytes: int, bytes_min: int, within_s: float) -> bool:
        """Did fewer than `bytes_min` move in `within_s` seconds? `moved_bytes` is all that ever moved."""
        if moved_bytes - self._from_bytes >= bytes_min:
            self.start(now_s, moved_bytes)
        return now_s - self._since_s > within_s
