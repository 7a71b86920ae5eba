// Prints a key's secret: get.mjs NAME. Exit status 3 when locked, 2 without an agent, 1 otherwise.
// In a checkout: npm ci in bindings/node, and AKM_LIBRARY names the built library.

import { AkmError, get } from "../../bindings/node/index.js"; // in a program of your own: from "akm"

const [name] = process.argv.slice(2);
if (name === undefined) {
  console.error("usage: get.mjs NAME");
  process.exit(64);
}
try {
  console.log(await get(name));
} catch (error) {
  if (!(error instanceof AkmError)) throw error;
  console.error(error.message);
  process.exitCode = { locked: 3, no_agent: 2 }[error.kind] ?? 1;
}
