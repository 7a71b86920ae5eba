// Runs conformance steps through the Node package. The protocol is in driver.c.
import { createInterface } from "node:readline";
import * as akm from "akm";

function errorObject(error) {
  const { kind, message, field, hint, retry_after_s } = error;
  if (akm[error.name] !== error.constructor) throw new Error("the class of an error is not one of akm's own");
  return { kind, message, field, hint, retry_after_s };
}

let agent;
let count = 0;
for await (const line of createInterface({ input: process.stdin })) {
  const [word, ...rest] = line.split("\t");
  let code = 0;
  let answer = "";
  try {
    switch (word) {
      case "connect":
        count += 1;
        agent = akm.connect(rest[0]);
        break;
      case "open":
        count += 1;
        agent = akm.open(rest[0]);
        break;
      case "call":
        answer = JSON.stringify(await agent.call(rest[0], JSON.parse(rest[1])));
        break;
      case "get":
        answer = await agent.get(rest[0]);
        break;
      case "close":
        agent.close();
        break;
      case "count":
        answer = String(count);
        break;
      default:
        process.exit(64);
    }
  } catch (error) {
    if (!(error instanceof akm.AkmError)) throw error;
    code = error.constructor.code;
    answer = JSON.stringify(errorObject(error));
  }
  process.stdout.write(`${code}\t${answer}\n`);
}
