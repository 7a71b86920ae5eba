"""API keys from akm's encrypted vault.

``akm.get("openai/work")`` asks the running agent. ``akm.connect()`` and ``akm.open("vault.db")`` give a handle for
everything else. Nothing is cached: a secret lives as long as what this module returned.
"""

from ._agent import Agent, AuditEvent, Key, LastTest, Secret, connect
from ._agent import open as open  # written twice: type checkers take a name that __all__ lacks for private
from ._errors import (
    Closed,
    Conflict,
    Corrupt,
    Denied,
    Error,
    Forked,
    Internal,
    InvalidInput,
    Io,
    LimitReached,
    Locked,
    NoAgent,
    NotFound,
    Provider,
    RateLimited,
    RolledBack,
    Timeout,
    Unavailable,
    UnsupportedVersion,
    WrongCredentials,
)
from ._sources import Auth, Source, async_source, auth, get, source

# Without `open`, which a star import would put in front of Python's own.
__all__ = [
    "Agent",
    "AuditEvent",
    "Auth",
    "Closed",
    "Conflict",
    "Corrupt",
    "Denied",
    "Error",
    "Forked",
    "Internal",
    "InvalidInput",
    "Io",
    "Key",
    "LastTest",
    "LimitReached",
    "Locked",
    "NoAgent",
    "NotFound",
    "Provider",
    "RateLimited",
    "RolledBack",
    "Secret",
    "Source",
    "Timeout",
    "Unavailable",
    "UnsupportedVersion",
    "WrongCredentials",
    "async_source",
    "auth",
    "connect",
    "get",
    "source",
]
