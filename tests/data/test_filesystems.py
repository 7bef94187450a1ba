"""Web servers are read within limits on time, bytes and addresses."""

import io
import re
import resource
import time

import pytest

from data_tools.videos.input_list.locations import may_be_private, open_bytes, resolve
from data_tools.videos.settings import Access, VideoError
from t2vgan.data import filesystems, remote
from t2vgan.data.dataset import open_dataset
from t2vgan.data.filesystems import is_public
from t2vgan.data.remote import RemoteFolder
from t2vgan.errors import UserError
from tests.support.web_server import send, send_forever, silent_server, web_server


@pytest.fixture(autouse=True)
def short_waits(monkeypatch):
    """Wait little; sessions that other tests opened are not used again."""
    from fsspec.implementations.http import HTTPFileSystem

    HTTPFileSystem.clear_instance_cache()
    monkeypatch.setattr(filesystems, "SILENCE_SECONDS", 0.3)
    monkeypatch.setattr(remote, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(remote, "LAST_ATTEMPT_SECONDS", 0.2)


def read(url: str, **access) -> bytes:
    """Read what a list's row names, as packing does."""
    allowed = Access(**{"root": "/list", **access})
    location = resolve(url, allowed)
    private = may_be_private(location, allowed)
    file = open_bytes(location, offset=0, size=None, max_bytes=1000, private_hosts=private)
    return file.read()


# ---- time and bytes ----------------------------------------------------------------------------


def test_a_silent_server_is_left_after_a_second_attempt():
    reason = r"manifest\.json: 2 attempts failed; last: .*[Tt]imeout"
    with silent_server() as url, pytest.raises(OSError, match=reason):
        open_dataset(url)


def test_an_endless_manifest_is_not_read():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with web_server(lambda request: send_forever(request, b" " * (1 << 20))) as server:
        with pytest.raises(OSError, match=r"larger than the limit of \d+ bytes"):
            open_dataset(server.url)
        assert server.requests == ["/manifest.json"], "no attempt after the first"
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 500_000, "kilobytes"


@pytest.mark.parametrize("status", [200, 206])
def test_a_part_is_never_more_than_was_asked_for(status):
    reason = r"a\.tar: the server cannot send a part of a file"
    with (
        web_server(lambda request: send_forever(request, b"x" * (1 << 20), status)) as server,
        pytest.raises(UserError, match=reason),
    ):
        RemoteFolder(server.url).download("a.tar", 1000, io.BytesIO())


def test_a_server_without_parts_serves_small_files():
    with web_server(lambda request: send(request, 200, b"content")) as server:
        file = io.BytesIO()
        RemoteFolder(server.url).download("a.tar", 7, file)
        assert file.getvalue() == b"content"
        assert RemoteFolder(server.url).read("a") == b"content"


def test_a_video_above_the_limit_is_a_failure():
    with web_server(lambda request: send_forever(request, b"x" * 5000)) as server:
        with pytest.raises(VideoError, match="larger than the limit of 1000 bytes") as error:
            read(f"{server.url}/a.mp4", allow_private_hosts=True)
        assert error.value.reason == "limit"


def test_what_the_server_refuses_is_asked_once():
    with web_server(lambda request: send(request, 403)) as server:
        with pytest.raises(PermissionError, match="refused"):
            RemoteFolder(server.url).read("a")
        with pytest.raises(FileNotFoundError), web_server(lambda r: send(r, 404)) as other:
            RemoteFolder(other.url).read("a")
        assert len(server.requests) == len(other.requests) == 1


@pytest.mark.parametrize("status", [401, 403, 410])
def test_a_video_that_the_server_refuses_is_asked_for_once(status):
    with web_server(lambda request: send(request, status)) as server:
        with pytest.raises(VideoError, match=str(status)) as error:
            read(f"{server.url}/a.mp4", allow_private_hosts=True)
        assert error.value.reason == "refused"
        assert len(server.requests) == 1


def test_a_video_of_a_failing_server_is_asked_for_three_times():
    with web_server(lambda request: send(request, 503)) as server:
        with pytest.raises(VideoError, match=r"a\.mp4: 3 attempts failed; last: 503") as error:
            read(f"{server.url}/a.mp4", allow_private_hosts=True)
        assert error.value.reason == "unreachable"
        assert len(server.requests) == 3


# ---- addresses ---------------------------------------------------------------------------------

PUBLIC = ["93.184.216.34", "2606:2800:220:1::1", "::ffff:8.8.8.8", "64:ff9b::8.8.8.8"]
PRIVATE = [
    "127.0.0.1", "127.8.8.8", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "0.0.0.0",
    "100.64.0.1", "224.0.0.1", "255.255.255.255", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1",
    "::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::127.0.0.1", "2002:7f00:1::", "ff02::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address):
    assert is_public(address)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses(address):
    assert not is_public(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f000001", "0.0.0.0"]
)
@pytest.mark.parametrize("scheme", ["http", "HTTP"])
def test_a_list_does_not_name_this_machine(host, scheme):
    with web_server(lambda request: send(request, 200, b"secret")) as server:
        url = f"{scheme}://{host}:{server.server_port}/a.mp4"
        with pytest.raises(VideoError) as error:
            read(url)
        assert error.value.reason == "refused"
        assert not server.requests
        if host in ("127.0.0.1", "localhost"):  # the others are not canonical: no client reads them
            assert "--allow-private-hosts permits it" in str(error.value)
            assert read(url, allow_private_hosts=True) == b"secret"


def test_a_redirect_does_not_lead_to_this_machine(monkeypatch):
    monkeypatch.setattr(filesystems, "is_public", lambda address: address == "127.0.0.2")
    with web_server(lambda request: send(request, 200, b"secret")) as private:

        def redirect(request) -> None:
            send(request, 302, Location=f"{private.url}/a.mp4")

        with web_server(redirect, "127.0.0.2") as public:
            with pytest.raises(VideoError, match="--allow-private-hosts"):
                read(f"{public.url}/a.mp4")
            with pytest.raises(PermissionError, match="a redirect into a private network"):
                RemoteFolder(public.url).read("manifest.json")
            assert len(public.requests) == 2
            assert not private.requests
            assert read(f"{public.url}/a.mp4", allow_private_hosts=True) == b"secret"


def test_the_host_that_the_user_named_may_be_private():
    with web_server(lambda request: send(request, 200, b"mine")) as server:
        assert read("a.mp4", root=server.url) == b"mine"
        assert read(f"{server.url}/b.mp4", root=server.url) == b"mine"
        with pytest.raises(VideoError, match="--allow-private-hosts"):
            read(f"http://localhost:{server.server_port}/c.mp4", root=server.url)


# ---- secrets -----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 200])
def test_messages_hold_no_passwords(status):
    with web_server(lambda request: send(request, status, b"x" * 2000)) as server:
        url = server.url.replace("://", "://user:passw0rd@")
        with pytest.raises(VideoError) as error:
            read(f"{url}/a.mp4?sig=s1gnature", allow_private_hosts=True)
        texts = [str(error.value)]
        with pytest.raises((OSError, UserError)) as failure:
            open_dataset(url)
        texts.append(f"{failure.value} {getattr(failure.value, 'filename', '')}")
        assert not re.findall("passw0rd|s1gnature", " ".join(texts))


def test_the_password_reaches_the_server():
    seen = []

    def answer(request) -> None:
        seen.append(request.headers["Authorization"])
        send(request, 200, b"content")

    with web_server(answer) as server:
        folder = RemoteFolder(server.url.replace("://", "://user:passw0rd@"))
        assert folder.read("a") == b"content"
        assert seen[0].startswith("Basic ")
        assert "passw0rd" not in folder.url


def test_time_is_spent_on_waiting_only():
    """A slow but steady server is read to its end."""

    def answer(request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "8")
        request.end_headers()
        for _ in range(8):
            request.wfile.write(b"x")
            time.sleep(0.1)  # 0.8 s in all, more than the 0.3 s of silence allowed

    with web_server(answer) as server:
        assert RemoteFolder(server.url).read("a") == b"x" * 8
