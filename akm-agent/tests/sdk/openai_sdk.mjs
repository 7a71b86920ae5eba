// The unmodified OpenAI SDK under `akm run`: it finds key and address by itself. Prints the answer, and the key.
import OpenAI from "openai";

const client = new OpenAI({ maxRetries: 0 });
const answer = await client.chat.completions.create({ model: "gpt-test", messages: [{ role: "user", content: "hi" }] });
console.log(answer.choices[0].message.content);
console.log(client.apiKey, Buffer.from(process.env.OPENAI_API_KEY).toString("base64"));
