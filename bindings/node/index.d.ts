// `Symbol.dispose`, also for programs whose `lib` does not have it.
/// <reference lib="esnext.disposable" />

/** What went wrong, by what the caller can do about it. Messages never hold a secret and never repeat what was asked. */
export class AkmError extends Error {
  static readonly kind: string;
  /** The number of the kind in the C ABI. */
  static readonly code: number;
  /** The stable token, the same in every language. */
  readonly kind: string;
  /** The part of the request at fault. */
  readonly field?: string;
  /** The next step. */
  readonly hint?: string;
  /** How long to wait, in seconds. */
  readonly retry_after_s?: number;
}
export { AkmError as Error };
/** The account is locked: unlock it. */
export class Locked extends AkmError {}
/** Passphrase, code or account do not fit together. */
export class WrongCredentials extends AkmError {}
/** No such key, provider, account or operation. */
export class NotFound extends AkmError {}
/** It exists already, or somebody else holds it. */
export class Conflict extends AkmError {}
/** Known and not allowed: disabled, expired, use-only, or no grant. */
export class Denied extends AkmError {}
/** A limit is reached. */
export class LimitReached extends AkmError {}
/** Too many attempts: wait `retry_after_s` seconds. */
export class RateLimited extends AkmError {}
/** The request is malformed; `field` names the part. */
export class InvalidInput extends AkmError {}
/** Stored data fails its authentication. */
export class Corrupt extends AkmError {}
/** Stored data is older than what this machine has seen. */
export class RolledBack extends AkmError {}
/** Stored data has a version that this program does not know. */
export class UnsupportedVersion extends AkmError {}
/** The agent is stopping or overloaded: try again. */
export class Unavailable extends AkmError {}
/** The provider or the way to it failed. */
export class Provider extends AkmError {}
/** The operating system refused a read or a write. */
export class Io extends AkmError {}
/** A defect in akm. */
export class Internal extends AkmError {}
/** Nothing listens on the socket. */
export class NoAgent extends AkmError {}
/** No answer in time. */
export class Timeout extends AkmError {}
/** The handle is closed. */
export class Closed extends AkmError {}
/** The vault was opened by the parent process. */
export class Forked extends AkmError {}
/** The class of every kind, by its token. */
export const kinds: Readonly<Record<string, typeof AkmError>>;

export type KeyStatus = "active" | "disabled" | "expired" | "burned";

/** A key's record, without its secret. Times are RFC 3339 UTC to the millisecond, so they sort as texts. */
export interface Key {
  name: string;
  provider: string;
  label: string;
  model: string | null;
  categories: string[];
  status: KeyStatus;
  preview: string;
  env: string | null;
  low_balance?: string;
  team?: string;
  lifetime_s?: number;
  use_only: boolean;
  confirm?: boolean;
  base_url?: string;
  notes?: string;
  version: number;
  created_at: string;
  updated_at: string;
  last_used_at: string | null;
  expires_at: string | null;
  /** Origins the key may be sent to. */
  hosts?: string[];
  /** The header that carries it. */
  header?: string | null;
  /** What the last connection test of this secret showed; in lists and in `key.show`. */
  last_test?: { outcome: string; time: string };
}

/** What happened: `(await agent.call<{ events: AuditEvent[]; next?: string }>("audit.list")).events`. */
export interface AuditEvent {
  /** The chain it stands in. */
  chain: "account" | "system";
  /** Position in its chain, from 1. */
  seq: number;
  /** As in `Key`. */
  time: string;
  /** The operation. */
  action: string;
  /** Null in the system chain: a failed sign-in belongs to no account. */
  account: string | null;
  /** The key, where the operation had one that exists. */
  key?: string;
  /** The process that asked. */
  caller: { uid: number; pid: number; exe: string };
  /** `ok`, or the kind of the error. */
  outcome: string;
}

export interface KeyFilters {
  provider?: string;
  category?: string;
  status?: KeyStatus;
}

/** A handle: the agent behind a socket, or a vault inside this process. An open one does not keep the process alive. */
export interface Agent {
  /** Calls an operation with its fields; resolves to its result. */
  // eslint-disable-next-line @typescript-eslint/no-explicit-any
  call<Result = any>(op: string, request?: object): Promise<Result>;
  /** Resolves to the secret of a key. */
  get(key: string): Promise<string>;
  /** Resolves to every key that fits, without secrets. */
  keys(filters?: KeyFilters): Promise<Key[]>;
  /** Closes the handle once the calls under way have ended. Twice is fine; later calls reject with `Closed`. */
  close(): void;
  [Symbol.dispose](): void;
}

/** Connects to the running agent, at once: throws `NoAgent` if there is none. */
export function connect(socket?: string): Agent;
/** Opens a vault inside this process, locked. Throws `Conflict` while an agent or another program has it. */
export function open(vault?: string): Agent;
/** Resolves to the secret of a key, from the running agent. Keeps no connection and no copy. */
export function get(key: string, options?: { socket?: string }): Promise<string>;
/** An async function that fetches the key at each call: `new OpenAI({ apiKey: source("openai/work") })`. */
export function source(key: string, options?: { socket?: string }): () => Promise<string>;
