"""Reads `cargo metadata` and refuses a dependency whose licence akm has not agreed to.

Alternatives (`OR`, `/`) need one agreed licence, conjunctions (`AND`) need all.
"""

import json
import re
import sys

AGREED = {
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
}


def agreed(expression: str) -> bool:
    """Evaluates an SPDX expression over the agreed set."""
    expression = expression.replace("/", " OR ")
    tokens = re.findall(r"\(|\)|[^\s()]+(?: WITH [^\s()]+)?", expression)
    position = 0

    def atom() -> bool:
        nonlocal position
        token = tokens[position]
        position += 1
        if token == "(":
            value = either()
            if tokens[position] != ")":
                raise ValueError(expression)
            position += 1
            return value
        return token in AGREED

    def both() -> bool:
        nonlocal position
        value = atom()
        while position < len(tokens) and tokens[position] == "AND":
            position += 1
            value = atom() and value
        return value

    def either() -> bool:
        nonlocal position
        value = both()
        while position < len(tokens) and tokens[position] == "OR":
            position += 1
            value = both() or value
        return value

    value = either()
    if position != len(tokens):
        raise ValueError(expression)
    return value


def main() -> int:
    # Controls: the check can fail, and can pass.
    if agreed("GPL-3.0-only") or agreed("MIT AND GPL-3.0-only") or not agreed("(MIT OR GPL-3.0-only) AND ISC"):
        print("the licence check does not work")
        return 1
    packages = json.load(sys.stdin)["packages"]
    bad = [
        f"{package['name']} {package['version']}: {package['license']}"
        for package in packages
        if not agreed(package["license"] or "none stated")
    ]
    if len(packages) < 50:
        bad.append(f"only {len(packages)} packages were seen")
    for line in bad:
        print(line)
    print(f"{len(packages)} packages, {len(bad)} without an agreed licence")
    return 1 if bad else 0


sys.exit(main())
