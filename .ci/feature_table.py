"""Holds the table of features in docs/features.md against the tests that really exist.

A row names the tests that show a feature, and each of them is one that every run of CI makes: not one that is ignored.
"""

import re
import sys

from attack_table import CRATES, NAMED, tests_of

ROW = re.compile(r"^\| ([^|`]+) \| (`[^|]+) \|$")
# What the service that akm takes up offers; a row that is taken out is noticed.
LEAST = 21


def problems(text: str, tests: dict[str, dict[str, bool]]) -> list[str]:
    """What is wrong with the table."""
    rows = [row.groups() for row in map(ROW.match, text.splitlines()) if row]
    bad = [] if len(rows) >= LEAST else [f"there are {len(rows)} rows, and {LEAST} features"]
    for feature, cell in rows:
        named = NAMED.findall(cell)
        if not named or cell.count("::") != len(named):
            bad.append(f"{feature}: a test is written as `crate::test`")
        for crate, name, _ in named:
            if tests.get(crate, {}).get(name) is not False:
                bad.append(f"{feature}: {crate}::{name} is no test of every run")
    return bad


def main() -> int:
    with open("docs/features.md", encoding="utf-8") as file:
        text = file.read()
    tests = {crate: tests_of(folders) for crate, folders in CRATES.items()}
    bad = problems(text, tests)
    for line in bad:
        print(line)
    # Controls: a row less, a test that is gone, and one that is only run on request are found.
    first = NAMED.search(text)
    assert first, "the table names no test"
    crate, name, _ = first.groups()
    lines = text.splitlines()
    less = "\n".join(line for line in lines if not ROW.match(line) or line != lines[-1])
    ignored = {**tests, crate: {**tests[crate], name: True}}
    for mistake in (problems(less, tests), problems(text.replace(name, name + "x"), tests), problems(text, ignored)):
        assert set(mistake) - set(bad), "a mistake is not noticed"
    print(f"{sum(bool(ROW.match(line)) for line in lines)} features; {len(bad)} mistakes")
    return 1 if bad else 0


sys.exit(main())
