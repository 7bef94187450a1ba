"""Web servers on loopback that answer as a test wants."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = Callable[[BaseHTTPRequestHandler], None]


class WebServer(ThreadingHTTPServer):
    """Calls a function for each request, and counts them."""

    daemon_threads = True

    def __init__(self, answer: Answer, host: str) -> None:
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.server.requests.append(self.path)
                with suppress(OSError):  # a client that has gone
                    answer(self)

            do_HEAD = do_GET  # noqa: N815

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        super().__init__((host, 0), Handler)
        self.requests: list[str] = []

    @property
    def url(self) -> str:
        return f"http://{self.server_address[0]}:{self.server_port}"


@contextmanager
def web_server(answer: Answer, host: str = "127.0.0.1") -> Iterator[WebServer]:
    with WebServer(answer, host) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


@contextmanager
def silent_server() -> Iterator[str]:
    """Accept connections and never answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes = b"", **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(body)


def send_forever(handler: BaseHTTPRequestHandler, piece: bytes, status: int = 200) -> None:
    """Send a body without end, until the client goes."""
    handler.send_response(status)
    handler.end_headers()
    while True:
        handler.wfile.write(piece)
