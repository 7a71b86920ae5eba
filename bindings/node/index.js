// akm for Node: keys from the running agent or from a vault inside this process.
//
// Every call but `connect` and `open` runs on another thread. Nothing is cached.

import { Buffer } from "node:buffer";

import { Closed, InvalidInput } from "./lib/errors.js";
import * as native from "./lib/native.js";

export * from "./lib/errors.js";

// A handle that was forgotten is closed when its agent is collected. Calls under way keep the agent alive.
const forgotten = new FinalizationRegistry((handle) => native.close(handle));

class Agent {
  #handle;
  #closed = false;
  #underWay = 0;

  constructor(handle) {
    this.#handle = handle;
    forgotten.register(this, handle, this);
  }

  /** Calls an operation with its fields; resolves to its result. */
  call(op, request = {}) {
    return this.#use((handle) => native.call(handle, name(op), Buffer.from(JSON.stringify(request) ?? "", "utf8")));
  }

  /** Resolves to the secret of a key. */
  get(key) {
    return this.#use((handle) => native.get(handle, name(key)));
  }

  /** Resolves to every key that fits, without secrets. */
  async keys(filters = {}) {
    const found = [];
    let after;
    do {
      const page = await this.call("key.list", { ...filters, after });
      found.push(...page.keys);
      after = page.next;
    } while (after !== undefined);
    return found;
  }

  /** Closes the handle once the calls under way have ended, without waiting for them here. Twice is fine. */
  close() {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#underWay === 0) this.#release();
  }

  [Symbol.dispose ?? Symbol.for("nodejs.dispose")]() {
    this.close();
  }

  async #use(call) {
    if (this.#closed) throw new Closed("the handle is closed");
    this.#underWay += 1;
    try {
      return await call(this.#handle);
    } finally {
      this.#underWay -= 1;
      if (this.#closed && this.#underWay === 0) this.#release();
    }
  }

  #release() {
    forgotten.unregister(this);
    native.close(this.#handle);
  }
}

/** Connects to the running agent, at once: throws `NoAgent` if there is none. */
export function connect(socket) {
  return new Agent(native.connect(path(socket)));
}

/** Opens a vault inside this process, locked. */
export function open(vault) {
  return new Agent(native.open(path(vault)));
}

/** Resolves to the secret of a key, from the running agent. Keeps no connection and no copy. */
export async function get(key, options = {}) {
  const bytes = name(key);
  // A path by itself has no member `socket`: the default agent would be asked instead of the one that is meant.
  if (options === null || typeof options !== "object") throw new TypeError("the options are an object");
  return await native.getOnce(path(options.socket), bytes);
}

/** An async function that fetches the key at each call, for SDKs: `new OpenAI({ apiKey: source("openai/work") })`. */
export function source(key, options) {
  return () => get(key, options);
}

function name(text) {
  if (typeof text !== "string") throw new TypeError("a name is a string");
  // A lone surrogate would be written as another character, and another name be asked for.
  if (!text.isWellFormed()) throw new InvalidInput("the name is not well-formed text", { field: "name" });
  return Buffer.from(text, "utf8");
}

function path(text) {
  if (text === undefined || text === null) return null;
  if (typeof text !== "string") throw new TypeError("a path is a string");
  // An empty buffer would reach the library as no path, which means the default place.
  if (text === "") throw new InvalidInput("the path is empty");
  if (!text.isWellFormed()) throw new InvalidInput("the path is not well-formed text");
  return Buffer.from(text, "utf8");
}
