"""The C ABI of akm through ctypes: bytes in, bytes out, errors raised. Nothing else knows about C.

ctypes lets go of the interpreter lock during a call, so other threads run while one waits for an answer.
"""

import ctypes
import json
import os
import sys
import threading
from typing import Any, NoReturn, Optional

from . import _errors

ABI_VERSION = 1


class _Buffer(ctypes.Structure):
    """`akm_buffer`: zeroed at the start, freed by the library, which wipes it."""

    _fields_ = [("data", ctypes.c_void_p), ("len", ctypes.c_size_t), ("cap", ctypes.c_size_t)]

    def __repr__(self) -> str:
        return "<akm buffer>"


_lock = threading.Lock()
_loaded: Optional[ctypes.CDLL] = None


def library() -> ctypes.CDLL:
    """The native library, loaded at the first use: from AKM_LIBRARY, else the one in this package, else not at all."""
    global _loaded
    if _loaded is None:
        with _lock:
            if _loaded is None:
                _loaded = _load()
    return _loaded


def _load() -> ctypes.CDLL:
    path = os.environ.get("AKM_LIBRARY")
    if not path:
        name = "libakm.dylib" if sys.platform == "darwin" else "libakm.so"
        path = os.path.join(os.path.dirname(os.path.abspath(__file__)), "_native", name)
        if not os.path.isfile(path):
            raise _errors.Io("this package has no native library", hint="install a wheel, or set AKM_LIBRARY")
    # An absolute path: the loader must not look a bare name up in places that others can write.
    lib = ctypes.CDLL(os.path.abspath(path))
    size, text, handle, buffer = ctypes.c_size_t, ctypes.c_char_p, ctypes.c_uint64, ctypes.POINTER(_Buffer)
    for name, result, arguments in (
        ("akm_abi_version", ctypes.c_uint32, []),
        ("akm_connect", ctypes.c_int32, [text, size, ctypes.POINTER(handle), buffer]),
        ("akm_open", ctypes.c_int32, [text, size, ctypes.POINTER(handle), buffer]),
        ("akm_call", ctypes.c_int32, [handle, text, size, ctypes.c_void_p, size, buffer]),
        ("akm_get", ctypes.c_int32, [handle, text, size, buffer]),
        ("akm_buffer_free", None, [buffer]),
        ("akm_close", None, [handle]),
    ):
        function = getattr(lib, name)
        function.restype = result
        function.argtypes = arguments
    if lib.akm_abi_version() != ABI_VERSION:
        raise _errors.UnsupportedVersion("the native library speaks another version of the ABI")
    return lib


def connect(path: Optional[bytes]) -> int:
    """A handle on the agent behind a socket."""
    return _new_handle(library().akm_connect, path)


def open_vault(path: Optional[bytes]) -> int:
    """A handle on a vault inside this process."""
    return _new_handle(library().akm_open, path)


def _new_handle(function: Any, path: Optional[bytes]) -> int:
    handle = ctypes.c_uint64()
    buffer = _Buffer()
    try:
        code = function(path, 0 if path is None else len(path), ctypes.byref(handle), ctypes.byref(buffer))
        if code != 0:
            _fail(buffer, code)
        return handle.value
    finally:
        library().akm_buffer_free(ctypes.byref(buffer))


def call(handle: int, op: bytes, request: bytearray) -> Any:
    """Calls an operation; gives its result. The request's bytes are wiped."""
    lib = library()
    buffer = _Buffer()
    size = len(request)
    view = (ctypes.c_char * size).from_buffer(request)
    try:
        code = lib.akm_call(handle, op, len(op), ctypes.byref(view), size, ctypes.byref(buffer))
        if code != 0:
            _fail(buffer, code)
        return json.loads(ctypes.string_at(buffer.data, buffer.len))
    finally:
        ctypes.memset(ctypes.byref(view), 0, size)
        lib.akm_buffer_free(ctypes.byref(buffer))


def get(handle: int, name: bytes, into: Any) -> Any:
    """Fetches a secret: `into(address, length)` makes of it what the caller wants, before it is wiped."""
    lib = library()
    buffer = _Buffer()
    try:
        code = lib.akm_get(handle, name, len(name), ctypes.byref(buffer))
        if code != 0:
            _fail(buffer, code)
        return into(buffer.data, buffer.len)
    finally:
        lib.akm_buffer_free(ctypes.byref(buffer))


def close(handle: int) -> None:
    """Closes a handle, once no thread is using it."""
    library().akm_close(handle)


def _fail(buffer: _Buffer, code: int) -> NoReturn:
    try:
        answer = json.loads(ctypes.string_at(buffer.data, buffer.len)) if buffer.data else None
    except ValueError:
        answer = None
    raise _errors.from_object(answer, code) from None
