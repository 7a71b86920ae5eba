// The C ABI of akm through koffi: strings in, JSON text out, errors thrown. Nothing else knows about C.

import { existsSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import koffi from "koffi";

import { Io, Unavailable, UnsupportedVersion, fromObject } from "./errors.js";

const ABI_VERSION = 1;

// koffi runs an asynchronous call on a block of this size that it takes from the heap, without a guard page behind it. Its
// default of 128 KiB leaves little over what akm.h asks for.
const ASYNC_STACK = 512 * 1024;

// Most calls under way; the others wait for their turn. koffi refuses more than 256, and libuv runs four of them at a time unless
// it is told otherwise.
const AT_ONCE = 64;

// Other packages use koffi too: how often a call is tried again while it has no place for ours, and how long after.
const TRIES = 2000;
const PAUSE_MS = 5;

let loaded;

/** The native library, loaded at the first use: from AKM_LIBRARY, else the one in this package, else not at all. */
function library() {
  loaded ??= load();
  return loaded;
}

function load() {
  let path = process.env.AKM_LIBRARY;
  if (!path) {
    const name = process.platform === "darwin" ? "libakm.dylib" : "libakm.so";
    path = fileURLToPath(new URL(`../native/${process.platform}-${process.arch}/${name}`, import.meta.url));
    if (!existsSync(path)) {
      throw new Io("this package has no native library for this platform", { hint: "set AKM_LIBRARY" });
    }
  }
  widenStacks();
  // An absolute path: the loader must not look a bare name up in places that others can write.
  const lib = koffi.load(resolve(path));
  const buffer = koffi.struct({ data: "void *", len: "size_t", cap: "size_t" });
  const out = koffi.out(koffi.pointer("uint64_t"));
  const inout = koffi.inout(koffi.pointer(buffer));
  const bytes = ["uint8_t *", "size_t"];
  const functions = {
    version: lib.func("akm_abi_version", "uint32_t", []),
    connect: lib.func("akm_connect", "int32_t", [...bytes, out, inout]),
    open: lib.func("akm_open", "int32_t", [...bytes, out, inout]),
    call: lib.func("akm_call", "int32_t", ["uint64_t", ...bytes, ...bytes, inout]),
    get: lib.func("akm_get", "int32_t", ["uint64_t", ...bytes, inout]),
    free: lib.func("akm_buffer_free", "void", [inout]),
    close: lib.func("akm_close", "void", ["uint64_t"]),
  };
  if (functions.version() !== ABI_VERSION) {
    throw new UnsupportedVersion("the native library speaks another version of the ABI");
  }
  return functions;
}

function widenStacks() {
  const { async_stack_size: size } = koffi.config();
  if (size >= ASYNC_STACK) return;
  try {
    koffi.config({ async_stack_size: ASYNC_STACK });
  } catch {
    // Somebody else in this process uses koffi already, and its sizes are fixed then: theirs suffice for what runs there.
  }
}

/** One call into the library: `run` gets the buffer and returns the code; `read` makes of the answer what the caller wants. */
function sync(run, read) {
  const { free } = library();
  const buffer = { data: null, len: 0, cap: 0 };
  try {
    return finish(run(buffer), buffer, read);
  } finally {
    free(buffer);
  }
}

const waiting = [];
let underWay = 0;

/** Runs `work`, which makes calls one after the other, when it is its turn. */
async function inTurn(work) {
  if (underWay < AT_ONCE) underWay += 1;
  else await new Promise((go) => waiting.push(go));
  try {
    return await work();
  } finally {
    const next = waiting.shift();
    // The place is handed over, so that nobody who comes just now is before those who wait.
    if (next) next();
    else underWay -= 1;
  }
}

/** Begins a call on another thread; resolves to its code. */
function begin(run, buffer) {
  return new Promise((done, failed) => {
    let tries = 0;
    const attempt = () => {
      try {
        run(buffer, (error, value) => (error ? failed(error) : done(value)));
      } catch (error) {
        if (!error.message?.startsWith("Too many asynchronous calls")) failed(error);
        else if (++tries < TRIES) setTimeout(attempt, PAUSE_MS);
        else failed(new Unavailable("too many calls of native libraries are under way", { hint: "try again" }));
      }
    };
    attempt();
  });
}

/** As `sync`, on another thread. */
async function elsewhere(run, read) {
  const { free } = library();
  const buffer = { data: null, len: 0, cap: 0 };
  const code = await begin(run, buffer);
  try {
    return finish(code, buffer, read);
  } finally {
    free(buffer);
  }
}

function finish(code, buffer, read) {
  if (code === 0) return read(buffer);
  let answer;
  try {
    answer = JSON.parse(text(buffer));
  } catch {
    // Not even an error object: the code says what is known.
  }
  throw fromObject(answer, code);
}

function text({ data, len }) {
  return len === 0 ? "" : koffi.decode(data, "char", len);
}

function json(buffer) {
  return JSON.parse(text(buffer));
}

/** A handle on the agent behind a socket. */
export function connect(path) {
  const handle = [0];
  return sync((buffer) => library().connect(path, path?.length ?? 0, handle, buffer), () => handle[0]);
}

/** A handle on a vault inside this process. */
export function open(path) {
  const handle = [0];
  return sync((buffer) => library().open(path, path?.length ?? 0, handle, buffer), () => handle[0]);
}

/** Calls an operation; the request's bytes are wiped. */
export async function call(handle, op, request) {
  try {
    return await inTurn(() => elsewhere(
      (buffer, done) => library().call.async(handle, op, op.length, request, request.length, buffer, done),
      json,
    ));
  } finally {
    request.fill(0);
  }
}

/** Fetches a secret. */
export function get(handle, name) {
  return inTurn(() => secret(handle, name));
}

/** Fetches a secret from the agent behind a socket, over a connection of its own. */
export function getOnce(path, name) {
  return inTurn(async () => {
    const handle = [0];
    await elsewhere(
      (buffer, done) => library().connect.async(path, path?.length ?? 0, handle, buffer, done),
      () => undefined,
    );
    try {
      return await secret(handle[0], name);
    } finally {
      close(handle[0]);
    }
  });
}

function secret(handle, name) {
  return elsewhere((buffer, done) => library().get.async(handle, name, name.length, buffer, done), text);
}

/** Closes a handle; waits for the calls under way, so the caller lets them end first. */
export function close(handle) {
  library().close(handle);
}
