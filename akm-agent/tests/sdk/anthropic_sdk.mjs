// The unmodified Anthropic SDK under `akm run`: it finds key and address by itself. Prints the answer, and the key.
import Anthropic from "@anthropic-ai/sdk";

const client = new Anthropic({ maxRetries: 0 });
const answer = await client.messages.create({
  model: "claude-test",
  max_tokens: 8,
  messages: [{ role: "user", content: "hi" }],
});
console.log(answer.content[0].text);
console.log(client.apiKey, Buffer.from(process.env.ANTHROPIC_API_KEY).toString("base64"));
