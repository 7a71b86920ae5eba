"""The unmodified Google SDK under `akm run`: it finds key and address by itself. Prints the answer, and the key."""

import base64
import os

from google import genai

client = genai.Client()
answer = client.models.generate_content(model="gemini-test", contents="hi")
print(answer.text)
key = os.environ["GEMINI_API_KEY"]
print(key, base64.b64encode(key.encode()).decode())
