// The unmodified Google SDK under `akm run`: it finds key and address by itself. Prints the answer, and the key.
import { GoogleGenAI } from "@google/genai";

const key = process.env.GEMINI_API_KEY;
const client = new GoogleGenAI({});
const answer = await client.models.generateContent({ model: "gemini-test", contents: "hi" });
console.log(answer.text);
console.log(key, Buffer.from(key).toString("base64"));
