"""A handle on the agent or on an embedded vault, and the secret that is wiped."""

import ctypes
import json
import os
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Dict, Iterator, List, NoReturn, Optional, Type, TypedDict, Union

from . import _native

Path = Union[str, bytes, "os.PathLike[str]", "os.PathLike[bytes]"]


class LastTest(TypedDict):
    """What a connection test showed, and when."""

    outcome: str
    time: str


class Key(TypedDict, total=False):
    """A key's record, without its secret. Fields that a newer agent adds are kept.

    Times are RFC 3339 UTC to the millisecond (``2027-01-31T23:59:59.000Z``), so they sort as texts.
    """

    name: str
    provider: str
    label: str
    model: Optional[str]
    categories: List[str]
    status: str
    preview: str
    env: Optional[str]
    low_balance: str
    team: str
    lifetime_s: int
    use_only: bool
    confirm: bool
    base_url: str
    notes: str
    version: int
    created_at: str
    updated_at: str
    last_used_at: Optional[str]
    expires_at: Optional[str]
    hosts: List[str]
    header: Optional[str]
    last_test: LastTest


class Caller(TypedDict):
    """The process that asked."""

    uid: int
    pid: int
    exe: str


class AuditEvent(TypedDict, total=False):
    """What happened, as ``agent.call("audit.list")["events"]`` holds it.

    ``chain`` is ``account`` or ``system``; in the system chain ``account`` is None: a failed sign-in belongs to no account.
    """

    chain: str
    seq: int
    time: str
    action: str
    account: Optional[str]
    key: str
    caller: Caller
    outcome: str


class Secret(bytearray):
    """A secret's bytes, wiped at the end of the `with` block. Its `repr` and `str` show nothing.

    Use it where bytes are taken, or `secret.decode()`: a copy, which Python cannot wipe.
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return "akm.Secret(..)"

    def __str__(self) -> str:
        return "akm.Secret(..)"

    def __format__(self, spec: str) -> str:
        return "akm.Secret(..)"

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def wipe(self) -> None:
        """Overwrites the bytes in place."""
        size = len(self)
        if size:
            ctypes.memset((ctypes.c_char * size).from_buffer(self), 0, size)


def _secret_at(address: int, size: int) -> Secret:
    secret = Secret(size)
    ctypes.memmove((ctypes.c_char * size).from_buffer(secret), address, size)
    return secret


def _text_at(address: int, size: int) -> str:
    # Decoded where it lies: a bytes object in between would be one more copy that nobody wipes.
    return str(memoryview((ctypes.c_char * size).from_address(address)).cast("B"), "ascii")


def _name(name: str) -> bytes:
    # Checked here because ctypes would quote the argument in its own error.
    if not isinstance(name, str):
        raise TypeError("the name of a key is a str")
    return name.encode("utf-8", "surrogatepass")


class Agent:
    """A handle: the agent behind a socket, or a vault inside this process. Threads may share it."""

    __slots__ = ("_handle", "_kind", "__weakref__")

    def __init__(self, handle: int, kind: str) -> None:
        self._handle = handle
        self._kind = kind

    def call(self, op: str, /, **request: Any) -> Dict[str, Any]:
        """Calls an operation with its fields and gives its result, as the OpenAPI document names them."""
        if not isinstance(op, str):
            raise TypeError("the name of an operation is a str")
        body = None
        try:
            body = bytearray(json.dumps(request, allow_nan=False, separators=(",", ":")).encode("ascii"))
        except (TypeError, ValueError, RecursionError):
            pass
        finally:
            # Whoever reports an error with the variables of every frame must not find a passphrase in ours.
            request.clear()
        if body is None:
            # Raised out here, so that no error of json hangs on it: that one names a value, and its frames hold all of them.
            raise TypeError("a field of the request cannot be written as JSON")
        result = _native.call(self._handle, op.encode("utf-8", "surrogatepass"), body)
        return result  # type: ignore[no-any-return]

    def get(self, name: str) -> str:
        """The secret of a key as a str, which Python cannot wipe: see `secret`."""
        return _native.get(self._handle, _name(name), _text_at)  # type: ignore[no-any-return]

    @contextmanager
    def secret(self, name: str) -> Iterator[Secret]:
        """The secret of a key as a bytearray that is wiped at the end of the block."""
        secret: Secret = _native.get(self._handle, _name(name), _secret_at)
        try:
            yield secret
        finally:
            secret.wipe()

    def keys(
        self, *, provider: Optional[str] = None, category: Optional[str] = None, status: Optional[str] = None
    ) -> List[Key]:
        """Every key that fits, without secrets."""
        filters = {"provider": provider, "category": category, "status": status}
        request: Dict[str, Any] = {name: value for name, value in filters.items() if value is not None}
        found: List[Key] = []
        while True:
            page = self.call("key.list", **request)
            found.extend(page["keys"])
            if page.get("next") is None:
                return found
            request["after"] = page["next"]

    def close(self) -> None:
        """Closes the handle, after the calls under way on it. Twice is fine; calls after it raise `akm.Closed`."""
        _native.close(self._handle)

    def __enter__(self) -> "Agent":
        return self

    def __exit__(
        self,
        kind: Optional[Type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # At the end of the interpreter modules may be gone; the process ends anyway.
        try:
            self.close()
        except Exception:
            pass

    def __reduce_ex__(self, protocol: Any) -> NoReturn:
        raise TypeError("a handle belongs to its process: connect again")

    def __repr__(self) -> str:
        return f"<akm.Agent {self._kind}>"


def connect(socket: Optional[Path] = None) -> Agent:
    """Connects to the running agent; `akm.NoAgent` if there is none. Without a path, where `akm` itself finds it."""
    return Agent(_native.connect(_path(socket)), "connected")


def open(vault: Optional[Path] = None) -> Agent:
    """Opens a vault inside this process, locked; `akm.Conflict` while an agent or another program has it."""
    return Agent(_native.open_vault(_path(vault)), "embedded")


def _path(path: Optional[Path]) -> Optional[bytes]:
    return None if path is None else os.fsencode(path)
