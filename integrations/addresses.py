"""Where the gateway connects to: public addresses, and those in HITL_PRIVATE_NETWORKS.

A name is looked up here, its addresses are judged, and the connection goes to one that was judged,
so that no later answer of DNS leads anywhere else. TLS and the Host header keep the name.
"""

import asyncio
import socket
from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any, TypeVar

import httpcore
import httpx
from django.conf import settings

from approvals.core.events import ChannelError

C = TypeVar("C", httpx.Client, httpx.AsyncClient)
Address = IPv4Address | IPv6Address

_GLOBAL_UNICAST = ip_network("2000::/3")
_NAT64 = ip_network("64:ff9b::/96")
# Where Azure and Oracle tell their machines credentials. By the registry, or to older versions of
# Python, these are public.
_METADATA = (ip_network("168.63.129.16/32"), ip_network("192.0.0.0/24"))


class RefusedAddress(ChannelError):
    """A name leads to no address that the gateway may connect to; nothing was sent."""

    def __init__(self, host: str, address: str) -> None:
        leads = "" if host == address else f" ({host})"
        super().__init__(
            f"{address}{leads} is no public address, and HITL_PRIVATE_NETWORKS does not allow it:"
            " correct the address, or name its network there.",
            permanent=True,
        )


def guarded(client: C) -> C:
    """The client, which from now on connects to permitted addresses only, its proxies included."""
    # httpx has no public way to hand its pools a backend. What is read here before it is replaced
    # raises where another version names it otherwise, so that no client is left unguarded.
    for transport in (client._transport, *client._mounts.values()):  # noqa: SLF001
        match transport:
            case httpx.HTTPTransport(_pool=pool):
                pool._network_backend = _Backend(pool._network_backend)  # noqa: SLF001
            case httpx.AsyncHTTPTransport(_pool=pool):
                pool._network_backend = _AsyncBackend(pool._network_backend)  # noqa: SLF001
            case None:
                pass  # an exception from a proxy, which goes by the first transport
            case _:
                raise TypeError(f"{transport!r} cannot be kept from private addresses.")
    return client


def is_permitted(address: Address) -> bool:
    """Whether the address is public or allowed, as must be any IPv4 address that it stands for."""
    allowed = any(address in network for network in settings.HITL_PRIVATE_NETWORKS)
    inner = _inner(address)
    return (allowed or _is_public(address)) and (inner is None or is_permitted(inner))


def permitted(host: str, found: Iterable[Sequence[Any]]) -> list[str]:
    """Those of the addresses found for a host that may be connected to, in their order.

    Raises RefusedAddress where none of them may be, and OSError where none was found.
    """
    addresses = list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))
    allowed = [address for address in addresses if is_permitted(ip_address(address))]
    if addresses and not allowed:
        raise RefusedAddress(host, addresses[0])
    if not allowed:
        raise OSError(f"{host} has no address")
    return allowed


def _is_public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and (
        address not in _GLOBAL_UNICAST or _inner(address) is not None
    ):
        return False
    if any(address in network for network in _METADATA):
        return False
    return address.is_global and not address.is_multicast


def _inner(address: Address) -> IPv4Address | None:
    """The IPv4 address to which a packet for this IPv6 address goes on: mapped, NAT64 or 6to4."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour


class _Backend(httpcore.NetworkBackend):
    """Connects to the permitted addresses of a name, one after the other until one answers."""

    def __init__(self, inner: httpcore.NetworkBackend) -> None:
        self._inner = inner

    def connect_tcp(
        self, host: str, port: int, timeout: float | None = None, *args: Any, **options: Any
    ) -> httpcore.NetworkStream:
        try:
            found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
            *others, last = permitted(host, found)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in others:
            try:
                return self._inner.connect_tcp(address, port, timeout, *args, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._inner.connect_tcp(last, port, timeout, *args, **options)

    def sleep(self, seconds: float) -> None:
        self._inner.sleep(seconds)


class _AsyncBackend(httpcore.AsyncNetworkBackend):
    """The same on an event loop of asyncio."""

    def __init__(self, inner: httpcore.AsyncNetworkBackend) -> None:
        self._inner = inner

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - its name at httpcore
        *args: Any,
        **options: Any,
    ) -> httpcore.AsyncNetworkStream:
        look_up = asyncio.get_running_loop().getaddrinfo
        try:
            async with asyncio.timeout(timeout):
                found = await look_up(host, port, type=socket.SOCK_STREAM)
            *others, last = permitted(host, found)
        except TimeoutError as error:
            raise httpcore.ConnectTimeout("looking up the name took too long") from error
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(str(error)) from error
        for address in others:
            try:
                return await self._inner.connect_tcp(address, port, timeout, *args, **options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return await self._inner.connect_tcp(last, port, timeout, *args, **options)

    async def sleep(self, seconds: float) -> None:
        await self._inner.sleep(seconds)
