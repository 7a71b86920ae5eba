"""`akm.auth` where a server redirects: the key goes to its own hosts only, with every library and kind of header."""

import asyncio
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import akm
import httpx
import httpx2
import requests

SECRET = "sk-canary-of-redirects"


class Server(ThreadingHTTPServer):
    """Answers 200, or sends on to where the path says, and remembers what it was asked."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen = []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def take(self):
        seen, self.seen = self.seen, []
        return [(path, any(SECRET in value for value in headers)) for path, headers in seen]


class Handler(BaseHTTPRequestHandler):
    targets = {}

    def do_GET(self):
        self.server.seen.append((self.path, list(self.headers.values())))
        holders = [value for value in self.headers.values() if SECRET in value]
        assert len(holders) <= 1, "the key stands twice"
        target = self.targets.get(self.path)
        self.send_response(200 if target is None else 302)
        if target is not None:
            self.send_header("location", target)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


own, other = Server(), Server()
Handler.targets = {
    "/v1/away": other.url + "/caught",
    "/v1/protocol-relative": other.url.removeprefix("http:") + "/caught",
    "/v1/twice": "/v1/away",
    "/v1/here": "/v1/models",
    "/v1/odd": "http://127.0.0.1:1@" + other.url.removeprefix("http://") + "/caught",
}
away = ["/v1/away", "/v1/protocol-relative", "/v1/twice", "/v1/odd"]
with akm.connect() as agent:
    # A header of the provider's own, and the one that the libraries know.
    for name in ("anthropic/redirects", "openai/redirects"):
        agent.call("key.add", name=name, secret=SECRET, base_url=own.url + "/v1")


def through(library, auth, path):
    if library is requests:
        with requests.Session() as session:
            session.trust_env = False
            return session.get(own.url + path, auth=auth)
    with library.Client(auth=auth, trust_env=False, follow_redirects=True) as client:
        return client.get(own.url + path)


def through_async(library, auth, path):
    async def ask():
        async with library.AsyncClient(auth=auth, trust_env=False, follow_redirects=True) as client:
            return await client.get(own.url + path)

    return asyncio.run(ask())


ways = [(through, requests), (through, httpx), (through_async, httpx), (through, httpx2), (through_async, httpx2)]
for name in ("anthropic/redirects", "openai/redirects"):
    auth = akm.auth(name)
    for way, library in ways:
        for path in away:
            assert way(library, auth, path).status_code == 200, (library, path)
            first, *_ = own.take()
            assert first == (path, True), f"the control: {name} {library} {path} {first}"
            assert other.take() == [("/caught", False)], (name, library, path)
        answer = way(library, auth, "/v1/here")
        assert answer.status_code == 200
        # requests asks before it copies; httpx cannot be told where a redirect goes.
        assert own.take() == [("/v1/here", True), ("/v1/models", library is requests)], (name, library)
        shown = repr(answer.request.headers) + repr([one.request.headers for one in answer.history])
        assert library is requests or SECRET not in shown, shown
        if way is through and library is not requests:
            # Sent again, a request has the key again, and once.
            with library.Client(trust_env=False) as client:
                request = client.build_request("GET", own.url + "/v1/models")
                for _ in range(3):
                    assert client.send(request, auth=auth).status_code == 200
            assert own.take() == [("/v1/models", True)] * 3
print("ok")
