"""The unmodified Anthropic SDK under `akm run`: it finds key and address by itself. Prints the answer, and the key."""

import base64
import os

from anthropic import Anthropic

client = Anthropic(max_retries=0)
answer = client.messages.create(model="claude-test", max_tokens=8, messages=[{"role": "user", "content": "hi"}])
print(answer.content[0].text)
print(client.api_key, base64.b64encode(os.environ["ANTHROPIC_API_KEY"].encode()).decode())
