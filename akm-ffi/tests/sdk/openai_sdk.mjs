// The unmodified OpenAI SDK takes its key from akm at each request. Argument: the base URL of the test's server.
import assert from "node:assert/strict";
import OpenAI from "openai";
import { Locked, connect, source } from "akm";

const client = new OpenAI({ apiKey: source("openai/work"), baseURL: process.argv[2], maxRetries: 0 });
const models = async () => (await client.models.list()).data.map((model) => model.id);
assert.deepEqual(await models(), ["gpt-test"]);
const answer = await client.chat.completions.create({ model: "gpt-test", messages: [{ role: "user", content: "hi" }] });
assert.equal(answer.choices[0].message.content, "hello");

const agent = connect();
try {
  await agent.call("key.rotate", { name: "openai/work", secret: "sk-rotated" });
  assert.deepEqual(await models(), ["gpt-test"]);
  await agent.call("agent.lock");
} finally {
  agent.close();
}
await assert.rejects(models, (error) => error.cause instanceof Locked);
console.log("ok");
