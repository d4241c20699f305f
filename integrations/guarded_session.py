"""Sessions of requests, for libraries that speak HTTP by one: single sign-on's and the tracer's."""

import socket
from typing import Any, TypeVar
from urllib.parse import urlsplit

from requests import PreparedRequest, Response, Session, TooManyRedirects
from requests.adapters import HTTPAdapter
from requests.exceptions import InvalidProxyURL
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool, ProxyManager
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

from integrations.addresses import permitted

S = TypeVar("S", bound=Session)


def guarded_session(session: S) -> S:
    """The session, which from now on connects to permitted addresses only, its proxies included.

    It raises RefusedAddress for others, and takes a redirect for a fault: TooManyRedirects.
    """
    session.adapters.clear()
    for scheme in ("https://", "http://"):
        session.mount(scheme, _Adapter())
    return session


class _Adapter(HTTPAdapter):
    """Connects by the pools below, and lets nobody lead it elsewhere."""

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> ProxyManager:
        manager = super().proxy_manager_for(proxy, **options)
        if type(manager) is not ProxyManager:
            raise InvalidProxyURL("A proxy must be one of HTTP: no other can be judged.")
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, request: PreparedRequest, *args: Any, **options: Any) -> Response:
        response = super().send(request, *args, **options)
        # Whatever the session says of redirects, or a provider to it.
        if response.is_redirect:
            response.close()
            host = urlsplit(str(request.url)).hostname
            raise TooManyRedirects(
                f"{host} answered with a redirect, and none is followed: correct the address.",
                response=response,
            )
        return response


class _Connection(HTTPConnection):
    """Connects to the permitted addresses of a name, one after the other until one answers."""

    # urllib3 has no public way to say where a connection goes. What is read here before it is
    # replaced raises where another version names it otherwise, so that nothing is left unguarded.
    _connect = HTTPConnection._new_conn  # noqa: SLF001

    def _new_conn(self) -> socket.socket:
        name = self._dns_host
        try:
            found = socket.getaddrinfo(name, self.port, type=socket.SOCK_STREAM)
            *others, last = permitted(name, found)
        except (OSError, UnicodeError) as error:
            raise NewConnectionError(self, str(error)) from error
        try:
            for address in others:
                self._dns_host = address
                try:
                    return self._connect()
                except (NewConnectionError, ConnectTimeoutError):
                    continue
            self._dns_host = last
            return self._connect()
        finally:
            # The certificate and the Host header are by name.
            self._dns_host = name


class _TlsConnection(_Connection, HTTPSConnection):
    """The same with TLS."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _TlsConnection


_POOLS = {"http": _Pool, "https": _TlsPool}
