"""The unmodified OpenAI SDK takes its key from akm at each request. Argument: the base URL of the test's server."""

import asyncio
import sys

import akm
from openai import AsyncOpenAI, OpenAI

base_url = sys.argv[1]
client = OpenAI(api_key=akm.source("openai/work"), base_url=base_url, max_retries=0)
assert [model.id for model in client.models.list()] == ["gpt-test"]
answer = client.chat.completions.create(model="gpt-test", messages=[{"role": "user", "content": "hi"}])
assert answer.choices[0].message.content == "hello"


async def ask():
    async with AsyncOpenAI(api_key=akm.async_source("openai/work"), base_url=base_url, max_retries=0) as client:
        return [model.id async for model in client.models.list()]


assert asyncio.run(ask()) == ["gpt-test"]

with akm.connect() as agent:
    agent.call("key.rotate", name="openai/work", secret="sk-rotated")
    assert [model.id for model in client.models.list()] == ["gpt-test"]
    agent.call("agent.lock")
try:
    client.models.list()
except akm.Locked:
    print("ok")
