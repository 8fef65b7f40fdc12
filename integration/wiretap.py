"""Listens in between two nodes: a proxy that passes everything on and counts the questions that cross it.

It decodes frames by itself, from their documented header, so that what is counted is what is on the wire.
"""

import socket
import struct
import threading
from collections import Counter

HEADER = struct.Struct("!IIB")
NAMES = {1: "ask", 2: "answer", 3: "scan", 4: "rows", 5: "put_part", 6: "stored", 7: "get_part", 8: "part_follows"}


class Wiretap:
    """Where one node dials another: `address` is what to put into `routes`."""

    def __init__(self, target_port: int) -> None:
        self.frames: Counter[str] = Counter()
        self._target_port = target_port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
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
                near.close()  # it does not listen yet: whoever dialled tries again
                continue
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket) -> None:
        handshake, rest = True, b""
        try:
            while received := source.recv(65536):
                rest += received
                if handshake and b"\r\n\r\n" in rest:
                    handshake, rest = False, rest.partition(b"\r\n\r\n")[2]
                if not handshake:
                    rest = self._count(rest)
                sink.sendall(received)
        except OSError:
            pass
        finally:
            source.close()
            sink.close()

    def _count(self, rest: bytes) -> bytes:
        while len(rest) >= HEADER.size:
            length, _, kind = HEADER.unpack_from(rest)
            if len(rest) < HEADER.size + length:
                break
            if kind in NAMES:
                self.frames[NAMES[kind]] += 1
            rest = rest[HEADER.size + length :]
        return rest
