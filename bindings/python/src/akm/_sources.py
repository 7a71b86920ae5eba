"""Keys at the moment of use: `get`, a callable for SDKs, and the provider's own header for HTTP clients."""

import asyncio
from functools import lru_cache
from typing import Any, Awaitable, Callable, Dict, List, Optional, Set, Tuple
from urllib.parse import urljoin, urlsplit

from ._agent import Path, connect

Origin = Tuple[str, str, int]

_PORTS = {"http": 80, "https": 443}


def get(name: str, *, socket: Optional[Path] = None) -> str:
    """The secret of a key, from the running agent. Nothing is kept: no connection, no copy."""
    with connect(socket) as agent:
        return agent.get(name)


class Source:
    """A callable that fetches its key at each call: `OpenAI(api_key=akm.source("openai/work"))`."""

    __slots__ = ("_name", "_socket")

    def __init__(self, name: str, socket: Optional[Path] = None) -> None:
        self._name = name
        self._socket = socket

    def __call__(self) -> str:
        return get(self._name, socket=self._socket)

    def __repr__(self) -> str:
        return f"akm.source({self._name!r})"


def source(name: str, *, socket: Optional[Path] = None) -> Source:
    """A callable that fetches the key at each call, so that a rotated key is used at once and a locked one not at all."""
    return Source(name, socket)


def async_source(name: str, *, socket: Optional[Path] = None) -> Callable[[], Awaitable[str]]:
    """The same for `AsyncOpenAI`: an async function that does not hold up the event loop."""

    async def fetch() -> str:
        return await asyncio.get_running_loop().run_in_executor(None, Source(name, socket))

    return fetch


class Auth:
    """Sets the provider's own header on requests to its own hosts: `httpx.Client(auth=akm.auth("openai/work"))`.

    A request to any other host goes out as it is. Hosts and header are those that were sealed with the key. httpx, httpx2 and
    requests take it. Where they follow a redirect, the header does not come along to another host: they carry every header
    but `Authorization` there by themselves.
    """

    __slots__ = ("_name", "_socket")

    def __init__(self, name: str, socket: Optional[Path] = None) -> None:
        self._name = name
        self._socket = socket

    def __call__(self, request: Any) -> Any:
        target = _origin_of_request(request)
        if target is None:
            return request
        with connect(self._socket) as agent:
            key: Dict[str, Any] = agent.call("key.show", name=self._name)["key"]
            header = key.get("header")
            hosts: List[str] = key.get("hosts") or []
            allowed = {origin for origin in map(_origin, hosts) if origin is not None}
            if header and target in allowed:
                # As OpenAI's and everybody's `Authorization: Bearer`; headers of a provider's own carry the bare key.
                prefix = "Bearer " if header.lower() == "authorization" else ""
                _put(request, header, prefix + agent.get(self._name), allowed)
        return request

    def __repr__(self) -> str:
        return f"akm.auth({self._name!r})"


def auth(name: str, *, socket: Optional[Path] = None) -> Auth:
    """The provider's own header with the key, fetched at each request, for the provider's own hosts only."""
    return Auth(name, socket)


def _put(request: Any, header: str, value: str, allowed: Set[Origin]) -> None:
    headers = request.headers
    if isinstance(getattr(type(headers), "raw", None), property):
        # httpx copies the headers of a request to where it is redirected, and nobody is asked in between. What it sends are the
        # `raw` ones, what it copies are the others: the key stands among the former alone, so that no redirect has it.
        if header in headers:
            del headers[header]
        kept = _sent_only(getattr(type(headers), "_akm_base", type(headers)))(headers)
        kept._akm_sent = (header.encode("ascii"), value.encode("ascii"))
        request.headers = kept
        return
    headers[header] = value
    register = getattr(request, "register_hook", None)
    if register is not None:
        register("response", _Redirects(header, allowed))


@lru_cache(maxsize=None)
def _sent_only(base: Any) -> Any:
    """Headers with one that is sent and neither shown nor copied."""

    class Headers(base):  # type: ignore[misc]
        _akm_base = base
        _akm_sent: Tuple[bytes, bytes]

        @property
        def raw(self) -> List[Tuple[bytes, bytes]]:
            sent = getattr(self, "_akm_sent", None)
            return super().raw + ([] if sent is None else [sent])

    return Headers


class _Redirects:
    """A hook of requests: takes the key out of what it copies to where it is redirected, unless that is one of its hosts."""

    __slots__ = ("_header", "_allowed")

    def __init__(self, header: str, allowed: Set[Origin]) -> None:
        self._header = header
        self._allowed = allowed

    def __call__(self, response: Any, *_: Any, **__: Any) -> None:
        location = response.headers.get("location")
        if location is None:
            return
        try:
            target = _origin(urljoin(response.url, location))
        except ValueError:
            target = None
        if target not in self._allowed:
            response.request.headers.pop(self._header, None)


def _origin_of_request(request: Any) -> Optional[Origin]:
    url = request.url
    raw_host = getattr(url, "raw_host", None)
    if isinstance(raw_host, bytes):
        # httpx: its own idea of the host, which is where it will connect.
        host = raw_host.decode("ascii", "replace").strip("[]").lower()
        return (url.scheme, host, url.port or _PORTS.get(url.scheme, 0))
    return _origin(str(url))


def _origin(url: str) -> Optional[Origin]:
    # Parsers disagree about addresses with these characters, and only one of them decides where the request goes.
    if any(c in "\\@" or c <= " " for c in url):
        return None
    try:
        parts = urlsplit(url)
        port = parts.port or _PORTS.get(parts.scheme, 0)
    except ValueError:
        return None
    if parts.hostname is None:
        return None
    return (parts.scheme, parts.hostname, port)
