"""Stands between a client and the node that it talks to, and pulls once when so many bytes have passed.

So a test breaks something in the midst of a client's job at a place that the job itself defines, whatever the client
is and however fast it goes: nothing has to be timed, and the client cannot get past the place before it is broken.
"""

import socket
import threading
from collections.abc import Callable

PIECE_BYTES = 256 * 1024


class Tripwire:
    """A TCP proxy. Calls `pull` when `after_bytes` have passed, both directions counted; `beyond_bytes` came after."""

    def __init__(self, target_port: int, after_bytes: int, pull: Callable[[], None]) -> None:
        self.beyond_bytes = 0
        self._target_port = target_port
        self._left_bytes = after_bytes
        self._pull = pull
        self._counting = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            try:
                far = socket.create_connection(("127.0.0.1", self._target_port))
            except OSError:
                near.close()
                continue
            for end in (near, far):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        try:
            while received := source.recv(PIECE_BYTES):
                self._count(len(received))
                sink.sendall(received)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            for end in (source, sink):  # one direction is gone: nobody would close the other
                try:
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass  # it is closed already
        # Both sockets close when both directions have ended and nothing refers to them any more.

    def _count(self, size_bytes: int) -> None:
        with self._counting:
            if self._left_bytes <= 0:
                self.beyond_bytes += size_bytes
                return
            self._left_bytes -= size_bytes
            if self._left_bytes <= 0:
                self._pull()  # everybody else waits: nothing passes before it is done
