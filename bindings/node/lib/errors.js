// akm's errors, one class per kind, so that `catch (e) { if (e instanceof Locked) … }` says what is meant.

/** What went wrong, by what the caller can do about it. Messages never hold a secret and never repeat what was asked. */
export class AkmError extends Error {
  /** The number of the kind in the C ABI. */
  static code = 0;
  static kind = "internal";

  constructor(message, { kind, field, hint, retry_after_s } = {}) {
    super(message);
    this.name = new.target.name;
    this.kind = kind ?? new.target.kind;
    this.field = field;
    this.hint = hint;
    this.retry_after_s = retry_after_s;
  }
}

function kind(code, token) {
  return class extends AkmError {
    static code = code;
    static kind = token;
  };
}

export const Locked = class Locked extends kind(1, "locked") {};
export const WrongCredentials = class WrongCredentials extends kind(2, "wrong_credentials") {};
export const NotFound = class NotFound extends kind(3, "not_found") {};
export const Conflict = class Conflict extends kind(4, "conflict") {};
export const Denied = class Denied extends kind(5, "denied") {};
export const LimitReached = class LimitReached extends kind(6, "limit_reached") {};
export const RateLimited = class RateLimited extends kind(7, "rate_limited") {};
export const InvalidInput = class InvalidInput extends kind(8, "invalid_input") {};
export const Corrupt = class Corrupt extends kind(9, "corrupt") {};
export const RolledBack = class RolledBack extends kind(10, "rolled_back") {};
export const UnsupportedVersion = class UnsupportedVersion extends kind(11, "unsupported_version") {};
export const Unavailable = class Unavailable extends kind(12, "unavailable") {};
export const Provider = class Provider extends kind(13, "provider") {};
export const Io = class Io extends kind(14, "io") {};
export const Internal = class Internal extends kind(15, "internal") {};
export const NoAgent = class NoAgent extends kind(16, "no_agent") {};
export const Timeout = class Timeout extends kind(17, "timeout") {};
export const Closed = class Closed extends kind(18, "closed") {};
export const Forked = class Forked extends kind(19, "forked") {};

/** The class of every kind, by its token, in the order of its code. */
export const kinds = Object.freeze(
  Object.fromEntries(
    [
      Locked, WrongCredentials, NotFound, Conflict, Denied, LimitReached, RateLimited, InvalidInput, Corrupt, RolledBack,
      UnsupportedVersion, Unavailable, Provider, Io, Internal, NoAgent, Timeout, Closed, Forked,
    ].map((one) => [one.kind, one]),
  ),
);

/** The error of an error object, whose kind a newer library may have added. */
export function fromObject(answer, code) {
  const { kind: token, message = "akm gave no reason", field, hint, retry_after_s } = answer ?? {};
  const One = (Object.hasOwn(kinds, token) && kinds[token])
    || Object.values(kinds).find((known) => known.code === code)
    || AkmError;
  return new One(message, { kind: token, field, hint, retry_after_s });
}

export { AkmError as Error };
