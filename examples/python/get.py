"""Prints a key's secret: get.py NAME. Exit status 3 when locked, 2 without an agent, 1 otherwise.

Needs the package: pip install akm, or PYTHONPATH=bindings/python/src with AKM_LIBRARY in a checkout.
"""

import sys

import akm


def main() -> int:
    if len(sys.argv) != 2:
        print("usage: get.py NAME", file=sys.stderr)
        return 64
    try:
        print(akm.get(sys.argv[1]))
    except akm.Error as error:
        print(error, file=sys.stderr)
        return {"locked": 3, "no_agent": 2}.get(error.kind, 1)
    return 0


sys.exit(main())
