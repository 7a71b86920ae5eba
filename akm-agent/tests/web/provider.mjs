// A server that answers as OpenAI, DeepSeek and OpenRouter answer: models and balances, for one key that it takes.
import { createServer } from "node:http";

export const VALID = "sk-walk-valid-0123456789abcdef-wxyz";

export const fakeProvider = () =>
  new Promise((resolve) => {
    const server = createServer((request, response) => {
      const key = (request.headers.authorization ?? "").replace(/^Bearer /, "");
      const say = (status, body) => {
        response.writeHead(status, { "content-type": "application/json" });
        response.end(JSON.stringify(body));
      };
      if (key.includes("busy")) return say(429, { error: { message: "slow down" } });
      if (key !== VALID) return say(401, { error: { code: "invalid_api_key", message: "no" } });
      const path = new URL(request.url, "http://x").pathname;
      if (path.endsWith("/models")) return say(200, { object: "list", data: [{ id: "gpt-4o", object: "model" }] });
      if (path.endsWith("/user/balance"))
        return say(200, {
          is_available: true,
          balance_infos: [{ currency: "CNY", total_balance: "110.00", granted_balance: "10.00", topped_up_balance: "100.00" }],
        });
      if (path.endsWith("/key")) return say(200, { data: { label: "walk", usage: 12.5, limit: 20, limit_remaining: 7.5, is_free_tier: false } });
      if (path.endsWith("/credits")) return say(200, { data: { total_credits: 20, total_usage: 12.5 } });
      return say(404, { error: { message: "nothing here" } });
    });
    server.listen(0, "127.0.0.1", () => resolve({ server, port: server.address().port }));
  });
