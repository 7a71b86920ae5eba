"""Runs conformance steps through the Python package. The protocol is in driver.c."""

import json
import sys

import akm


def error_object(error):
    fields = {"kind": error.kind, "message": error.message, "field": error.field, "hint": error.hint,
              "retry_after_s": error.retry_after_s}
    assert type(error) is getattr(akm, type(error).__name__), "the class of an error is one of akm's own"
    return {name: value for name, value in fields.items() if value is not None}


def main():
    agent = None
    count = 0
    for line in sys.stdin:
        word, *rest = line.rstrip("\n").split("\t")
        code, answer = 0, ""
        try:
            if word == "connect":
                count += 1
                agent = akm.connect(rest[0])
            elif word == "open":
                count += 1
                agent = akm.open(rest[0])
            elif word == "call":
                answer = json.dumps(agent.call(rest[0], **json.loads(rest[1])))
            elif word == "get":
                answer = agent.get(rest[0])
            elif word == "close":
                agent.close()
            elif word == "count":
                answer = str(count)
            else:
                sys.exit(64)
        except akm.Error as error:
            code, answer = error.code, json.dumps(error_object(error))
        print(code, answer, sep="\t", flush=True)


main()
