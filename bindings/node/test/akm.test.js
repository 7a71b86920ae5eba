// The package against a running agent, whose socket is in AKM_AGENT_SOCK and which has the key openai/work.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { inspect } from "node:util";

import * as akm from "akm";

const { AKM_TEST_SECRET: SECRET, AKM_TEST_PASSPHRASE: PASSPHRASE, AKM_TEST_HOME: HOME } = process.env;

let agent;
before(() => {
  agent = akm.connect();
});
after(() => agent.close());

/** Runs a program of its own to its end; one that does not end by itself fails. */
function program(source, env = {}) {
  const cwd = new URL("..", import.meta.url);
  const ran = spawnSync(process.execPath, ["--input-type=module", "-e", source], {
    cwd, env: { ...process.env, ...env }, encoding: "utf8", timeout: 60_000,
  });
  assert.equal(ran.signal, null, `it did not end by itself: ${ran.stderr}`);
  assert.equal(ran.status, 0, ran.stderr);
  return ran.stdout;
}

test("get gives the secret", async () => {
  assert.equal(await akm.get("openai/work"), SECRET);
  assert.equal(await agent.get("openai/work"), SECRET);
  assert.equal(await akm.source("openai/work")(), SECRET);
});

test("calls and lists", async () => {
  assert.equal((await agent.call("key.show", { name: "openai/work" })).key.name, "openai/work");
  for (const label of ["工作", "b", "c"]) await agent.call("key.add", { name: `groq/${label}`, secret: "sk-x" });
  const names = (await agent.keys({ provider: "groq" })).map((key) => key.name).sort();
  assert.deepEqual(names, ["groq/b", "groq/c", "groq/工作"]);
  assert.deepEqual(await agent.keys({ status: "disabled" }), []);
});

test("lists follow every page", async () => {
  const all = (await agent.keys()).map((key) => key.name).sort();
  const paged = (await agent.keys({ limit: 1 })).map((key) => key.name).sort();
  assert.ok(all.length > 1);
  assert.deepEqual(paged, all);
});

test("errors say what can be done", async () => {
  const error = await agent.get("openai/none").catch((caught) => caught);
  assert.ok(error instanceof akm.NotFound && error instanceof akm.AkmError && error instanceof Error);
  assert.equal(akm.Error, akm.AkmError);
  assert.deepEqual([error.name, error.kind, error.field], ["NotFound", "not_found", "name"]);
  assert.match(error.hint, /openai\/work/);
  await assert.rejects(agent.call("key.list", { limit: "canary" }), (caught) => {
    assert.ok(caught instanceof akm.InvalidInput);
    assert.equal(caught.field, "limit");
    assert.doesNotMatch(inspect(caught), /canary/);
    return true;
  });
  await assert.rejects(agent.call("key.steal"), akm.NotFound);
  for (const wrong of ["openai/\ud800", "openai/\udfff\ud83d"]) {
    await assert.rejects(agent.get(wrong), akm.InvalidInput);
    await assert.rejects(akm.get(wrong), { kind: "invalid_input", field: "name" });
    await assert.rejects(agent.call(wrong), akm.InvalidInput);
  }
  assert.throws(() => akm.connect("/tmp/\ud800"), akm.InvalidInput);
  assert.throws(() => akm.open("/tmp/\ud800"), akm.InvalidInput);
  assert.throws(() => akm.connect(""), akm.InvalidInput);
  assert.throws(() => akm.connect("/tmp/a\0b"), akm.InvalidInput);
  await assert.rejects(async () => agent.get(7), TypeError);
});

test("locked is its own error", async () => {
  await agent.call("agent.lock");
  try {
    await assert.rejects(akm.get("openai/work"), akm.Locked);
    await assert.rejects(akm.source("openai/work"), akm.Locked);
  } finally {
    await agent.call("agent.unlock", { passphrase: PASSPHRASE });
  }
  assert.equal(await akm.get("openai/work"), SECRET);
});

test("no agent is told at once", async () => {
  const empty = mkdtempSync(join(tmpdir(), "akm"));
  const socket = join(empty, "agent.sock");
  try {
    assert.throws(() => akm.connect(socket), akm.NoAgent);
    await assert.rejects(akm.get("openai/work", { socket }), akm.NoAgent);
    await assert.rejects(akm.get("openai/work", socket), TypeError);
    await assert.rejects(akm.source("openai/work", null), TypeError);
  } finally {
    rmSync(empty, { recursive: true });
  }
});

test("a closed handle is closed, and calls under way end first", async () => {
  const other = akm.connect();
  const underWay = Array.from({ length: 8 }, () => other.get("openai/work"));
  other.close();
  other.close();
  assert.deepEqual(await Promise.all(underWay), Array(8).fill(SECRET));
  await assert.rejects(other.get("openai/work"), akm.Closed);
  const disposed = akm.connect();
  disposed[Symbol.dispose]();
  await assert.rejects(disposed.get("openai/work"), akm.Closed);
});

test("many calls at once do not mix their answers", async () => {
  for (let i = 0; i < 4; i++) await agent.call("key.add", { name: `cohere/k${i}`, secret: `sk-${i}` });
  const answers = await Promise.all(Array.from({ length: 200 }, (_, i) => agent.get(`cohere/k${i % 4}`)));
  answers.forEach((answer, i) => assert.equal(answer, `sk-${i % 4}`));
});

test("a thousand calls at once take their turns", async () => {
  const answers = await Promise.all(Array.from({ length: 1000 }, () => agent.get("openai/work")));
  assert.deepEqual(answers, Array(1000).fill(SECRET));
  // Each with a connection of its own, and beside calls that fail: whoever fails gives its turn away too.
  const mixed = await Promise.allSettled(
    Array.from({ length: 1000 }, (_, i) => (i % 2 ? akm.get("openai/work") : agent.call("key.steal"))),
  );
  mixed.forEach(({ value, reason }, i) => (i % 2 ? assert.equal(value, SECRET) : assert.ok(reason instanceof akm.NotFound)));
});

test("a call waits where another package has as many under way as koffi allows", async () => {
  const { default: koffi } = await import("koffi");
  const other = koffi.load(null).func("int getppid()");
  let [begun, ended] = [0, 0];
  assert.throws(() => {
    for (;;) {
      other.async(() => (ended += 1));
      begun += 1;
    }
  }, /Too many asynchronous calls/, "the control");
  assert.equal(await agent.get("openai/work"), SECRET);
  assert.ok(begun >= 256 && ended > 0);
});

test("a call does not hold up the event loop", async () => {
  // Argon2 takes its time; timers go on meanwhile.
  const path = join(HOME, "node-loop", "vault.db");
  const vault = akm.open(path);
  try {
    let turns = 0;
    const turn = () => {
      turns += 1;
      timer = setImmediate(turn);
    };
    let timer = setImmediate(turn);
    await vault.call("account.register", { account: "default", passphrase: "p", totp: false });
    clearImmediate(timer);
    assert.ok(turns > 10, `${turns} turns`);
  } finally {
    vault.close();
  }
});

test("a vault of its own", async () => {
  const path = join(HOME, "node", "vault.db");
  const vault = akm.open(path);
  await assert.rejects(vault.get("openai"), akm.Locked);
  await vault.call("account.register", { account: "default", passphrase: "p", totp: false });
  await vault.call("key.add", { name: "openai", secret: "sk-own" });
  assert.equal(await vault.get("openai"), "sk-own");
  assert.throws(() => akm.open(path), akm.Conflict);
  vault.close();
  const again = akm.open(path);
  await assert.rejects(again.call("agent.unlock", { passphrase: "q" }), akm.WrongCredentials);
  await again.call("agent.unlock", { passphrase: "p" });
  assert.equal(await again.get("openai"), "sk-own");
  again.close();
});

test("a large request and a large answer go through", async () => {
  const notes = "工".repeat(1300);
  await agent.call("key.add", { name: "xai/notes", secret: "k".repeat(8192), notes });
  assert.equal((await agent.call("key.show", { name: "xai/notes" })).key.notes, notes);
  assert.equal(await agent.get("xai/notes"), "k".repeat(8192));
  await assert.rejects(agent.call("key.add", { name: "xai/huge", secret: "x", notes: "x".repeat(300_000) }), akm.InvalidInput);
});

test("a program ends by itself with an open handle", () => {
  const printed = program(`
    import { connect, open } from "akm";
    const agent = connect();
    const vault = open(${JSON.stringify(join(HOME, "node-exit", "vault.db"))});
    await vault.call("agent.status");
    console.log(await agent.get("openai/work"));
  `);
  assert.equal(printed, `${SECRET}\n`);
});

test("a program ends by itself with a worker that has an open handle", () => {
  const printed = program(`
    import { Worker } from "node:worker_threads";
    import { connect } from "akm";
    const agent = connect();
    const source = \`
      import { parentPort } from "node:worker_threads";
      import { connect } from "\${import.meta.resolve("akm")}";
      const agent = connect();
      parentPort.postMessage(await agent.get("openai/work"));
    \`;
    const worker = new Worker(new URL("data:text/javascript," + encodeURIComponent(source)));
    const [answer, code] = await Promise.all([
      new Promise((done, failed) => worker.once("message", done).once("error", failed)),
      new Promise((done) => worker.once("exit", done)),
    ]);
    console.log(answer === await agent.get("openai/work"), code);
    const second = new Worker(new URL("data:text/javascript," + encodeURIComponent(source + "setInterval(() => {}, 1000);")));
    await new Promise((done) => second.once("message", done));
    console.log(await second.terminate());
  `);
  assert.equal(printed, "true 0\n1\n");
});

test("a forgotten handle is closed", () => {
  program(`
    import { connect } from "akm";
    import assert from "node:assert/strict";
    import { readdirSync, readlinkSync } from "node:fs";
    const sockets = () => readdirSync("/proc/self/fd").filter((fd) => {
      try { return readlinkSync("/proc/self/fd/" + fd).startsWith("socket:"); } catch { return false; }
    }).length;
    const none = sockets();
    for (let i = 0; i < 20; i++) connect();
    assert.equal(sockets(), none + 20);
    const { setFlagsFromString } = await import("node:v8");
    setFlagsFromString("--expose-gc");
    const { runInNewContext } = await import("node:vm");
    const gc = runInNewContext("gc");
    for (let round = 0; round < 100 && sockets() > none; round++) {
      gc();
      await new Promise((done) => setImmediate(done));
    }
    assert.equal(sockets(), none);
  `);
});

test("no library is looked for but the named one and the packaged one", () => {
  program(`
    import assert from "node:assert/strict";
    import { Io, connect } from "akm";
    assert.throws(() => connect(), Io);
  `, { AKM_LIBRARY: "" });
});
