"""A proxy in front of an S3 server that can be made to fail as real ones do."""

import http.client
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import urlsplit

ERROR = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{0}</Message></Error>"


class FaultyS3:
    """Serves what the server behind it serves, unless it is told to fail.

    Attributes:
        url: Of the proxy.
        busy: Whether it answers 503 SlowDown.
        away: Whether it hangs up on whoever asks, as a server that is gone does.
        delay: Seconds before it answers at all.
        only: Where given, the one access key that is not refused as expired.
        refused: Requests that it did not pass on.
    """

    def __init__(self, server: str) -> None:
        self.busy, self.away, self.delay, self.only, self.refused = False, False, 0.0, "", 0
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                if not self.raw_requestline or not self.parse_request():
                    self.close_connection = True
                    return
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                time.sleep(proxy.delay)
                if proxy.away:
                    proxy.refused += 1
                    self.close_connection = True
                elif proxy.busy:
                    self.refuse(503, "SlowDown")
                elif (
                    proxy.only and f"Credential={proxy.only}/" not in self.headers["Authorization"]
                ):
                    self.refuse(400, "ExpiredToken")
                else:
                    self.pass_on(server, body)

            def refuse(self, status: int, code: str) -> None:
                proxy.refused += 1
                self.answer(status, {}, ERROR.format(code).encode())

            def pass_on(self, server: str, body: bytes) -> None:
                behind = http.client.HTTPConnection(urlsplit(server).netloc, timeout=60)
                headers = {k: v for k, v in self.headers.items() if k.lower() != "expect"}
                behind.request(self.command, self.path, body, headers)
                got = behind.getresponse()
                kept = {k: v for k, v in got.getheaders() if k.lower() not in HOP_BY_HOP}
                content = got.read()
                if self.command == "HEAD":
                    kept["Content-Length"] = got.getheader("Content-Length") or "0"
                self.answer(got.status, kept, content)

            def answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                if "Content-Length" not in headers:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        Thread(target=self._server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


HOP_BY_HOP = {"connection", "content-length", "transfer-encoding", "keep-alive", "server", "date"}
