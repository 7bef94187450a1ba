"""Open fsspec's file systems with limits on time, bytes and addresses.

Each kind of storage has its own client (s3fs, gcsfs, ...). Web servers are not trusted: a response
is read as a stream, up to the requested number of bytes, and a silent server is given up after
seconds. If an address comes from an untrusted list, every connection (also that of a redirect) is
checked when it is made, and refused if it leads to this machine or a private network.
"""

import errno
import io
import ipaddress
import socket
from functools import lru_cache
from typing import Any

from t2vgan.errors import UserError
from t2vgan.utils.urls import WEB_SCHEMES, host_of, redact_url, scheme_of

CONNECT_SECONDS = 10
SILENCE_SECONDS = 15  # without data from a connected server; as in s3fs
REQUEST_SECONDS = 300
S3_OPTIONS = {"config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 1}}}
NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: an IPv4 address in the last 32 bits


class PrivateAddressError(OSError):
    """A connection to this machine or a private network was refused."""


def open_filesystem(url: str, *, private_hosts: bool) -> tuple[Any, str]:
    """Return a URL's file system and the path in it.

    Without `private_hosts`, reading web addresses that lead to private networks is refused.

    Raises:
        UserError: no client for this kind of storage is installed, or the URL is invalid.
    """
    import fsspec

    scheme = scheme_of(url)
    options: dict[str, Any] = {}
    try:
        if scheme in WEB_SCHEMES:
            import aiohttp  # noqa: F401 (fsspec's message would name other packages)

            options = {"get_client": create_client if private_hosts else create_guarded_client}
        elif scheme == "s3":
            options = S3_OPTIONS
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False, **options)
    except ModuleNotFoundError as error:
        raise UserError(f"{redact_url(url)}: {error}: pip install 't2vgan[s3]'") from None
    except (ImportError, ValueError) as error:
        raise UserError(f"{redact_url(url)}: {error}") from None
    if scheme == "s3":  # retries of s3fs and botocore would multiply with ours
        system.retries = 1
    return system, path


def read_file(system: Any, path: str, max_bytes: int) -> bytes:
    """Return a whole file.

    Raises:
        OSError: the file is missing, cannot be read, or has more than `max_bytes` (EFBIG).
    """
    if not is_web(system):
        size = system.info(path)["size"]
        return system.cat_file(path) if size <= max_bytes else _refuse_size(path, max_bytes)
    data = _read_web(system, path, {}, max_bytes)
    return data if len(data) <= max_bytes else _refuse_size(path, max_bytes)


def read_part(system: Any, path: str, start: int, stop: int) -> bytes:
    """Return bytes `start` to `stop` of a file; fewer at its end.

    Raises:
        UserError: a web server sends more, because it does not support ranges.
        OSError: the file is missing or cannot be read.
    """
    if not is_web(system):
        return system.cat_file(path, start=start, end=stop)
    data = _read_web(system, path, {"Range": f"bytes={start}-{stop - 1}"}, stop - start)
    if len(data) > stop - start:
        raise UserError(f"{redact_url(path)}: the server cannot send a part of a file")
    return data


def is_web(system: Any) -> bool:
    return "http" in system.protocol


def _read_web(system: Any, url: str, headers: dict[str, str], max_bytes: int) -> bytes:
    """Return a response's body, cut off some time after `max_bytes`."""
    from fsspec.asyn import sync

    async def read() -> bytes:
        session = await system.set_session()
        identity = {"Accept-Encoding": "identity", **headers}
        async with session.get(system.encode_url(url), headers=identity) as response:
            if response.status == 416:  # the range begins after the end of the file
                return b""
            system._raise_not_found_for_status(response, url)
            body = io.BytesIO()
            async for chunk in response.content.iter_any():
                body.write(chunk)
                if body.tell() > max_bytes:
                    break
            return body.getvalue()  # without a copy

    return sync(system.loop, read)


def _refuse_size(path: str, max_bytes: int) -> bytes:
    reason = f"larger than the limit of {max_bytes} bytes"
    raise OSError(errno.EFBIG, reason, redact_url(path))


# --- addresses ---------------------------------------------------------------------------------


async def create_client(**options: Any) -> Any:
    """Return an aiohttp session that may connect to any address."""
    return _create_session(None, **options)


async def create_guarded_client(**options: Any) -> Any:
    """Return an aiohttp session that connects to public addresses only."""
    return _create_session(create_public_socket, **options)


def _create_session(socket_factory: Any, **options: Any) -> Any:
    import aiohttp

    timeout = aiohttp.ClientTimeout(
        total=REQUEST_SECONDS, sock_connect=CONNECT_SECONDS, sock_read=SILENCE_SECONDS
    )
    connector = aiohttp.TCPConnector(socket_factory=socket_factory)
    return aiohttp.ClientSession(connector=connector, timeout=timeout, **options)


def create_public_socket(address: Any) -> socket.socket:
    """Return a socket for a resolved address.

    Raises:
        PrivateAddressError: the address is not public.
    """
    family, kind, protocol, _, (host, *_) = address
    if not is_public(host):
        raise PrivateAddressError(errno.EACCES, "the address belongs to a private network")
    return socket.socket(family, kind, protocol)


def is_public(address: str) -> bool:
    """Return whether an IP address is public."""
    found = ipaddress.ip_address(address)
    if isinstance(found, ipaddress.IPv6Address):
        if embedded := found.ipv4_mapped or found.sixtofour:
            return is_public(str(embedded))
        if found in NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
    return found.is_global and not found.is_multicast


@lru_cache(maxsize=1024)
def is_private_host(url: str) -> bool:
    """Return whether a URL's host is in a private network."""
    try:
        found = socket.getaddrinfo(host_of(url), None, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return False
    return any(not is_public(str(address[0])) for *_, address in found)


def find_refusal(error: BaseException) -> PrivateAddressError | None:
    """Return the PrivateAddressError that caused a client's error, else None."""
    seen: list[BaseException] = []
    pending: list[BaseException | None] = [error]
    while pending:
        found = pending.pop()
        if isinstance(found, PrivateAddressError):
            return found
        if found is not None and found not in seen:
            seen.append(found)
            pending += [found.__cause__, found.__context__, getattr(found, "os_error", None)]
    return None
