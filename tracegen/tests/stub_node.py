"""A node that is none: it answers like one over HTTP, and keeps nothing. Run as a process by the tests of the harness.

Before each PUT it waits `AMBERIO_STUB_WRITE_S`, so that a test can strike while a write runs; with
`AMBERIO_STUB_EXIT` it ends at once with that code, as a node does that cannot start.
"""

import argparse
import http.server
import json
import os
import signal
import sys
import threading
import time
from pathlib import Path

import yaml


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path.endswith("/healthz"):
            self._answer(200, b'{"status":"ok"}')
        elif "?" in self.path:
            self._answer(200, b'{"items":[],"next_cursor":null}')
        else:
            self._answer(404, b"{}")

    def do_PUT(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        time.sleep(float(os.environ.get("AMBERIO_STUB_WRITE_S", "0")))
        self._answer(201, json.dumps({"generation": 1, "etag": "e"}).encode())

    def do_DELETE(self) -> None:
        self._answer(404, b"{}")

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--node", required=True)
    parser.add_argument("--allow-mutants", action="store_true")
    options = parser.parse_args()
    if "AMBERIO_STUB_EXIT" in os.environ:
        print("stub: told to end", file=sys.stderr)
        sys.exit(int(os.environ["AMBERIO_STUB_EXIT"]))
    config = yaml.safe_load(options.config.read_text())
    (own,) = (node for node in config["initial_cluster"]["nodes"] if node["node_id"] == options.node)
    host, _, port = own["bind_addr"].partition(":")
    server = Server((host, int(port)), Handler)
    Path(own["disks"][0]["path"]).mkdir(parents=True, exist_ok=True)
    signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
    server.serve_forever(poll_interval=0.02)


if __name__ == "__main__":
    main()
