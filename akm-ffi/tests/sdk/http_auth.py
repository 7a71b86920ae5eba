"""`akm.auth` with httpx, httpx2 and requests: the provider's header, for its own hosts only.

Arguments: the URL of the key's own server, and of another.
"""

import asyncio
import sys

import akm
import httpx
import httpx2
import requests

own, other = sys.argv[1:]
auth = akm.auth("openai/own")

for library in (httpx, httpx2):
    with library.Client(auth=auth, trust_env=False) as client:
        assert client.get(own + "/v1/models").status_code == 200
        # Without the header this server refuses, and says so.
        assert client.get(other + "/v1/models").status_code == 401

    async def ask(library=library):
        async with library.AsyncClient(auth=auth, trust_env=False) as client:
            return (await client.get(own + "/v1/models")).status_code

    assert asyncio.run(ask()) == 200

with requests.Session() as session:
    session.trust_env = False
    assert session.get(own + "/v1/models", auth=auth).status_code == 200
    assert session.get(other + "/v1/models", auth=auth).status_code == 401
print("ok")
