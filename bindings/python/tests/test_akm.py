"""The package against a running agent, whose socket is in AKM_AGENT_SOCK and which has the key openai/work."""

import copy
import gc
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import traceback
import unittest

import akm
from akm import _native

SECRET = os.environ["AKM_TEST_SECRET"]
PASSPHRASE = os.environ["AKM_TEST_PASSPHRASE"]


class Connected(unittest.TestCase):
    def setUp(self):
        self.agent = akm.connect()
        self.addCleanup(self.agent.close)

    def test_get_gives_the_secret(self):
        self.assertEqual(akm.get("openai/work"), SECRET)
        self.assertEqual(self.agent.get("openai/work"), SECRET)
        self.assertEqual(akm.source("openai/work")(), SECRET)

    def test_a_secret_is_wiped_at_the_end_of_its_block(self):
        with self.agent.secret("openai/work") as secret:
            self.assertIsInstance(secret, bytearray)
            self.assertEqual(bytes(secret), SECRET.encode())
            # An exported view sees the same memory, so it shows whether that was overwritten or only let go.
            view = memoryview(secret)
        self.assertEqual(bytes(view), bytes(len(SECRET)))

    def test_a_secret_is_wiped_when_the_block_fails(self):
        with self.assertRaises(ZeroDivisionError):
            with self.agent.secret("openai/work") as secret:
                1 / 0
        self.assertFalse(any(secret))

    def test_a_secret_does_not_show(self):
        with self.agent.secret("openai/work") as secret:
            for text in (repr(secret), str(secret), f"{secret}", "%s %r" % (secret, secret), repr([secret])):
                self.assertNotIn(SECRET, text)
                self.assertNotIn(SECRET[:8], text)
            with self.assertRaises(TypeError):
                pickle.dumps(secret)
            with self.assertRaises(TypeError):
                copy.copy(secret)
            try:
                raise ValueError("in the middle of work")
            except ValueError as error:
                # As verbose error reporters print it, with the values of local variables.
                report = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
        self.assertIn("in the middle of work", report)
        self.assertNotIn(SECRET, report)

    def test_calls_and_lists(self):
        self.assertEqual(self.agent.call("key.show", name="openai/work")["key"]["name"], "openai/work")
        for number in range(3):
            self.agent.call("key.add", name=f"mistral/k{number}", secret="sk-x", categories=["many"])
        names = sorted(key["name"] for key in self.agent.keys(provider="mistral"))
        self.assertEqual(names, ["mistral/k0", "mistral/k1", "mistral/k2"])
        self.assertEqual(len(self.agent.keys(category="many", status="active")), 3)
        self.assertEqual(len(self.agent.keys(status="disabled")), 0)
        self.assertIn("openai/work", [key["name"] for key in self.agent.keys()])

    def test_lists_follow_every_page(self):
        pages = []

        class Paged(akm.Agent):
            def call(self, op, /, **request):
                pages.append(request.get("after"))
                return super().call(op, limit=1, **request)

        paged = Paged(_native.connect(None), "connected")
        self.addCleanup(paged.close)
        names = [key["name"] for key in paged.keys()]
        self.assertEqual(sorted(names), sorted(key["name"] for key in self.agent.keys()))
        self.assertEqual(len(names), len(set(names)))
        self.assertGreaterEqual(len(pages), len(names))

    def test_errors_say_what_can_be_done(self):
        with self.assertRaises(akm.NotFound) as caught:
            self.agent.get("openai/none")
        error = caught.exception
        self.assertIsInstance(error, akm.Error)
        self.assertEqual((error.kind, error.field, error.code), ("not_found", "name", 3))
        self.assertIn("openai/work", error.hint)
        self.assertIn(error.hint, str(error))
        self.assertIsNone(error.retry_after_s)
        self.assertEqual(vars(pickle.loads(pickle.dumps(error))), vars(error))
        with self.assertRaises(akm.InvalidInput) as caught:
            self.agent.call("key.list", limit="canary")
        self.assertEqual(caught.exception.field, "limit")
        self.assertNotIn("canary", "".join(traceback.format_exception(caught.exception)))
        with self.assertRaises(akm.NotFound):
            self.agent.call("key.steal")

    def test_wrong_types_are_refused_without_showing_values(self):
        for wrong in (lambda: self.agent.get(b"canary"), lambda: self.agent.call("key.add", name="x", secret=b"canary"),
                      lambda: self.agent.call(7), lambda: akm.get(None)):
            with self.assertRaises(TypeError) as caught:
                wrong()
            self.assertNotIn("canary", "".join(traceback.format_exception(caught.exception, chain=True)))
        with self.assertRaises(akm.InvalidInput):
            self.agent.get("openai/\udcff")
        with self.assertRaises(akm.InvalidInput):
            akm.connect("")

    def test_an_error_of_a_call_shows_no_value_of_the_request(self):
        deep = []
        for _ in range(100_000):
            deep = [deep]
        for expected, request in ((akm.WrongCredentials, {"passphrase": "canary"}),
                                  (akm.InvalidInput, {"passphrase": "canary" * 60_000}),
                                  (TypeError, {"passphrase": {"canary"}}), (TypeError, {"passphrase": "canary", "totp": deep})):
            # Not `assertRaises`, which empties the frames.
            try:
                self.agent.call("agent.unlock", **request)
            except expected as error:
                # Nothing that a report could follow leads to json's frames, which hold the whole request.
                self.assertIsNone(error.__context__)
                frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)][1:]
            else:
                self.fail(f"{expected} is not raised")
            shown = [repr(value) for frame in frames for value in frame.f_locals.values() if value is not deep]
            self.assertTrue(shown)
            self.assertNotIn("canary", "".join(shown))

    def test_locked_is_its_own_error(self):
        self.agent.call("agent.lock")
        try:
            for ask in (lambda: akm.get("openai/work"), akm.source("openai/work"), lambda: self.agent.keys()):
                with self.assertRaises(akm.Locked):
                    ask()
        finally:
            self.agent.call("agent.unlock", passphrase=PASSPHRASE)
        self.assertEqual(akm.get("openai/work"), SECRET)

    def test_a_closed_handle_is_closed(self):
        with akm.connect() as agent:
            self.assertEqual(agent.get("openai/work"), SECRET)
        with self.assertRaises(akm.Closed):
            agent.get("openai/work")
        agent.close()

    def test_a_forgotten_handle_is_closed(self):
        agent = akm.connect()
        handle = agent._handle
        self.assertIsNotNone(_native.call(handle, b"agent.status", bytearray(b"{}")))
        del agent
        gc.collect()
        with self.assertRaises(akm.Closed):
            _native.call(handle, b"agent.status", bytearray(b"{}"))

    def test_no_agent_is_told_at_once(self):
        with tempfile.TemporaryDirectory() as empty:
            with self.assertRaises(akm.NoAgent):
                akm.connect(os.path.join(empty, "agent.sock"))
            with self.assertRaises(akm.NoAgent):
                akm.get("openai/work", socket=os.path.join(empty, "agent.sock"))

    def test_threads_share_a_handle(self):
        wrong = []

        def ask():
            for _ in range(50):
                if self.agent.get("openai/work") != SECRET:
                    wrong.append(1)

        threads = [threading.Thread(target=ask) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_a_child_process_goes_on_with_a_connected_handle(self):
        def child():
            return "same" if self.agent.get("openai/work") == SECRET else "other"

        self.assertEqual(in_child(child), "same")
        self.assertEqual(self.agent.get("openai/work"), SECRET)

    def test_a_request_is_wiped(self):
        body = bytearray(json.dumps({"name": "openai/work"}).encode())
        _native.call(self.agent._handle, b"key.show", body)
        self.assertFalse(any(body))

    def test_a_handle_belongs_to_its_process(self):
        with self.assertRaises(TypeError):
            pickle.dumps(self.agent)
        self.assertEqual(repr(self.agent), "<akm.Agent connected>")
        self.assertEqual(repr(akm.source("openai/work")), "akm.source('openai/work')")

    def test_auth_leaves_addresses_alone_that_parsers_disagree_about(self):
        for url in ("https://api.openai.com@evil.example/", "https://evil.example\\@api.openai.com/", "https://[x/", "/v1"):
            request = Request(url)
            akm.auth("openai/work")(request)
            self.assertEqual(request.headers, {}, url)
        for url in ("https://api.openai.com/v1/models", "https://API.openai.com:443/"):
            request = Request(url)
            akm.auth("openai/work")(request)
            self.assertEqual(request.headers, {"authorization": "Bearer " + SECRET}, url)
        for url in ("http://api.openai.com/", "https://api.openai.com:444/", "https://api.openai.com.evil.example/"):
            request = Request(url)
            akm.auth("openai/work")(request)
            self.assertEqual(request.headers, {}, url)

    def test_auth_uses_the_header_of_the_provider(self):
        self.agent.call("key.add", name="anthropic", secret="sk-ant-x")
        request = Request("https://api.anthropic.com/v1/messages")
        akm.auth("anthropic")(request)
        self.assertEqual(request.headers, {"x-api-key": "sk-ant-x"})


class Embedded(unittest.TestCase):
    def test_a_vault_of_its_own(self):
        path = os.path.join(os.environ["AKM_TEST_HOME"], "python", "vault.db")
        with akm.open(path) as vault:
            self.assertEqual(repr(vault), "<akm.Agent embedded>")
            with self.assertRaises(akm.Locked):
                vault.get("openai")
            codes = vault.call("account.register", account="default", passphrase="p", totp=False)["recovery_codes"]
            self.assertTrue(codes)
            vault.call("key.add", name="openai", secret="sk-own")
            self.assertEqual(vault.get("openai"), "sk-own")
            with self.assertRaises(akm.Conflict):
                akm.open(path)

            def child():
                try:
                    vault.get("openai")
                except akm.Forked as error:
                    vault.close()
                    return error.kind
                return "not forked"

            self.assertEqual(in_child(child), "forked")
            self.assertEqual(vault.get("openai"), "sk-own")
        with akm.open(path) as vault:
            with self.assertRaises(akm.WrongCredentials):
                vault.call("agent.unlock", passphrase="q")
            vault.call("agent.unlock", passphrase="p")
            self.assertEqual(vault.get("openai"), "sk-own")


    def test_without_a_path_it_is_the_vault_of_akm(self):
        home = os.path.join(os.environ["AKM_TEST_HOME"], "other")
        program = "import akm; print(akm.open().call('agent.status')['vault'])"
        ran = subprocess.run([sys.executable, "-c", program], env={**os.environ, "AKM_HOME": home}, check=True,
                             stdout=subprocess.PIPE, text=True)
        self.assertEqual(ran.stdout.strip(), os.path.join(home, "vault.db"))
        self.assertEqual(sorted(os.listdir(home))[0], "audit.journal")
        for root, directories, files in os.walk(home):
            self.assertEqual(os.stat(root).st_mode & 0o777, 0o700)
            for name in files:
                self.assertEqual(os.stat(os.path.join(root, name)).st_mode & 0o777, 0o600, name)


class Request:
    """As much of a request as an auth callable sees."""

    def __init__(self, url):
        self.url = url
        self.headers = {}


def in_child(work):
    """What the function gives in a forked child."""
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(write, work().encode())
        except BaseException as error:
            os.write(write, repr(error).encode())
        finally:
            os._exit(0)
    os.close(write)
    os.waitpid(child, 0)
    with os.fdopen(read, "rb") as pipe:
        return pipe.read().decode()


if __name__ == "__main__":
    unittest.main()
