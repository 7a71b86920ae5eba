"""akm's errors, one class per kind, so that `except akm.Locked` says what is meant."""

from typing import Any, ClassVar, Dict, Optional, Tuple, Type

__all__ = ["Error", "KINDS", "from_object"]


class Error(Exception):
    """What went wrong, by what the caller can do about it.

    Messages are akm's own texts: they never hold a secret and never repeat what was asked.
    """

    kind: str
    """The stable token, the same in every language and in `--json`."""
    code: ClassVar[int] = 0
    """The number of the kind in the C ABI; 0 for a kind that a newer library added."""
    _kind: ClassVar[str] = ""

    def __init__(
        self,
        message: str,
        *,
        kind: str = "internal",
        field: Optional[str] = None,
        hint: Optional[str] = None,
        retry_after_s: Optional[int] = None,
    ) -> None:
        super().__init__(message)
        self.kind = type(self)._kind or kind
        self.message = message
        self.field = field
        self.hint = hint
        self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        text = self.message if self.field is None else f"{self.field}: {self.message}"
        return text if self.hint is None else f"{text} (hint: {self.hint})"

    def __reduce__(self) -> Tuple[Any, ...]:
        # Exceptions with keyword arguments do not survive pickling by themselves (multiprocessing needs it).
        state = {name: getattr(self, name) for name in ("kind", "field", "hint", "retry_after_s")}
        return (_restore, (type(self), self.message, state))


def _restore(cls: Type[Error], message: str, state: Dict[str, Any]) -> Error:
    return cls(message, **state)


class Locked(Error):
    """The account is locked: unlock it."""


class WrongCredentials(Error):
    """Passphrase, code or account do not fit together."""


class NotFound(Error):
    """No such key, provider, account or operation."""


class Conflict(Error):
    """It exists already, or somebody else holds it."""


class Denied(Error):
    """Known and not allowed: disabled, expired, use-only, or no grant."""


class LimitReached(Error):
    """A limit is reached."""


class RateLimited(Error):
    """Too many attempts: wait `retry_after_s` seconds."""


class InvalidInput(Error):
    """The request is malformed; `field` names the part."""


class Corrupt(Error):
    """Stored data fails its authentication."""


class RolledBack(Error):
    """Stored data is older than what this machine has seen."""


class UnsupportedVersion(Error):
    """Stored data has a version that this program does not know."""


class Unavailable(Error):
    """The agent is stopping or overloaded: try again."""


class Provider(Error):
    """The provider or the way to it failed."""


class Io(Error):
    """The operating system refused a read or a write."""


class Internal(Error):
    """A defect in akm."""


class NoAgent(Error):
    """Nothing listens on the socket."""


class Timeout(Error):
    """No answer in time."""


class Closed(Error):
    """The handle is closed."""


class Forked(Error):
    """The vault was opened by the parent process."""


KINDS: Dict[str, Type[Error]] = {}
"""The class of every kind, in the order of its code."""


def _register() -> None:
    table: Tuple[Tuple[int, str, Type[Error]], ...] = (
        (1, "locked", Locked),
        (2, "wrong_credentials", WrongCredentials),
        (3, "not_found", NotFound),
        (4, "conflict", Conflict),
        (5, "denied", Denied),
        (6, "limit_reached", LimitReached),
        (7, "rate_limited", RateLimited),
        (8, "invalid_input", InvalidInput),
        (9, "corrupt", Corrupt),
        (10, "rolled_back", RolledBack),
        (11, "unsupported_version", UnsupportedVersion),
        (12, "unavailable", Unavailable),
        (13, "provider", Provider),
        (14, "io", Io),
        (15, "internal", Internal),
        (16, "no_agent", NoAgent),
        (17, "timeout", Timeout),
        (18, "closed", Closed),
        (19, "forked", Forked),
    )
    for code, kind, cls in table:
        cls.code = code
        cls._kind = kind
        cls.__module__ = "akm"
        KINDS[kind] = cls
    Error.__module__ = "akm"


_register()


def from_object(answer: Any, code: int) -> Error:
    """The exception of an error object, whose kind a newer library may have added."""
    if not isinstance(answer, dict):
        answer = {}
    kind = answer.get("kind")
    cls = KINDS.get(kind) if isinstance(kind, str) else None
    if cls is None:
        cls = next((known for known in KINDS.values() if known.code == code), Error)
    return cls(
        str(answer.get("message", "akm gave no reason")),
        kind=kind if isinstance(kind, str) else "internal",
        field=answer.get("field"),
        hint=answer.get("hint"),
        retry_after_s=answer.get("retry_after_s"),
    )
