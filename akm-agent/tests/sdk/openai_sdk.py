"""The unmodified OpenAI SDK under `akm run`: it finds key and address by itself. Prints the answer, and the key."""

import base64
import os

from openai import OpenAI

client = OpenAI(max_retries=0)
answer = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "hi"}])
print(answer.choices[0].message.content)
print(client.api_key, base64.b64encode(os.environ["OPENAI_API_KEY"].encode()).decode())
