"""Real object storage on loopback (moto's server), behind a proxy that lets requests go wrong."""

import hashlib
import http.client
import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SLOW_DOWN = b"<Error><Code>SlowDown</Code><Message>Please reduce your rate.</Message></Error>"
HOP_HEADERS = ("transfer-encoding", "connection", "content-length")
BUCKET = "clips"

Fault = Callable[[str, str], str | None]
"""(method, path) -> busy, cut, slow, stalled, or None for a request that goes well."""


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a server; counts them, and the faults that it made."""

    daemon_threads = True

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = upstream
        self.fault: Fault = lambda method, path: None
        self.requests: Counter[tuple[str, str]] = Counter()
        self.faults: Counter[str] = Counter()
        self.closing = threading.Event()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, *_: object) -> None:
        """Clients that give up are no news."""


class Handler(BaseHTTPRequestHandler):
    """One connection of a client."""

    protocol_version = "HTTP/1.1"
    server: Proxy

    def handle_any(self) -> None:
        proxy, path = self.server, self.path.partition("?")[0]
        body = self.read_body()
        proxy.requests[self.command, path] += 1
        if fault := proxy.fault(self.command, path):
            proxy.faults[fault] += 1
        if fault == "busy":
            self.answer(503, {"Content-Type": "application/xml"}, SLOW_DOWN)
            return
        if fault == "stalled":
            proxy.closing.wait()
            self.close_connection = True
            return
        connection = http.client.HTTPConnection(*proxy.upstream)
        headers = {k: v for k, v in self.headers.items() if k.lower() not in HOP_HEADERS}
        connection.request(self.command, self.path, body, headers)
        response = connection.getresponse()
        data = response.read()
        kept = {k: v for k, v in response.getheaders() if k.lower() not in HOP_HEADERS}
        length = response.getheader("Content-Length", "0") if self.command == "HEAD" else None
        connection.close()
        self.answer(response.status, kept, data, fault, length)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def read_body(self) -> bytes:
        if "chunked" not in self.headers.get("Transfer-Encoding", ""):
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def answer(
        self, status: int, headers: dict, data: bytes, fault: str | None = None, length=None
    ) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(data)))
        self.end_headers()
        if self.command == "HEAD":  # a body would be read as the start of the next answer
            return
        if fault == "cut":
            self.wfile.write(data[: len(data) // 2])
            self.close_connection = True
        elif fault == "slow":
            for start in range(0, len(data), 1 + len(data) // 20):
                self.wfile.write(data[start : start + 1 + len(data) // 20])
                time.sleep(0.005)
        else:
            self.wfile.write(data)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@contextmanager
def object_storage() -> Iterator[Proxy]:
    """Run a server with an empty bucket; the proxy's `url` is its endpoint."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy(server.get_host_and_port())
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        proxy.closing.set()
        proxy.shutdown()
        proxy.server_close()
        server.stop()


def variables(proxy: Proxy) -> dict[str, str]:
    """Return the environment that leads a client there."""
    return {
        "AWS_ENDPOINT_URL": proxy.url,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def client(proxy: Proxy):
    """Return a plain S3 client, which goes past the proxy."""
    import boto3

    host, port = proxy.upstream
    return boto3.client(
        "s3", endpoint_url=f"http://{host}:{port}", region_name="us-east-1",
        aws_access_key_id="test", aws_secret_access_key="test",
    )  # fmt: skip


def put_folder(proxy: Proxy, folder: Path, prefix: str) -> str:
    """Copy a folder into the bucket and return its URL."""
    s3 = client(proxy)
    for path in sorted(folder.iterdir()):
        s3.put_object(
            Bucket=BUCKET, Key=f"{prefix}/{path.name}", Body=path.read_bytes(), ACL="public-read"
        )
    return f"s3://{BUCKET}/{prefix}"


def objects(proxy: Proxy, prefix: str) -> dict[str, str]:
    """Return the names under a prefix and the SHA-256 of what they hold, as `files_in` does."""
    s3, found = client(proxy), {}
    for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", []):
        data = s3.get_object(Bucket=BUCKET, Key=item["Key"])["Body"].read()
        found[item["Key"].removeprefix(f"{prefix}/")] = hashlib.sha256(data).hexdigest()
    return found


def remove_objects(proxy: Proxy, prefix: str) -> None:
    """Remove all that lies under a prefix."""
    s3 = client(proxy)
    for item in s3.list_objects_v2(Bucket=BUCKET, Prefix=f"{prefix}/").get("Contents", []):
        s3.delete_object(Bucket=BUCKET, Key=item["Key"])


@pytest.fixture(scope="module")
def running_storage() -> Iterator[Proxy]:
    with object_storage() as proxy:
        client(proxy).create_bucket(Bucket=BUCKET)
        yield proxy


@pytest.fixture
def storage(running_storage, monkeypatch) -> Proxy:
    """A server whose clients in this process, and in its children, wait little between attempts."""
    from s3fs import S3FileSystem

    from t2vgan.data import remote

    S3FileSystem.clear_instance_cache()  # of other servers
    for name, value in variables(running_storage).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.01)
    running_storage.fault = lambda method, path: None
    running_storage.requests.clear()
    running_storage.faults.clear()
    return running_storage
