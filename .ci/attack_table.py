"""Holds the attack table of SECURITY.md against the tests that really exist.

A row says which tests run a case, as `crate::test`, or in plain words why none does yet. A table that names a
test which is gone, or forgets one that is there, is worse than no table; so both fail here.
"""

import os
import re
import sys

# How many cases each group of the programme has.
GROUPS = {"A": 19, "B": 18, "C": 18, "D": 14, "E": 18, "F": 9, "G": 6, "H": 11, "I": 8}
CRATES = {
    "akm-core": ["akm-core/src", "akm-core/tests"],
    "akm-agent": ["akm-agent/src", "akm-agent/tests"],
    "akm-ffi": ["akm-ffi/src", "akm-ffi/tests"],
    "python": ["bindings/python/tests"],
}
ROW = re.compile(r"^\| ([A-I][0-9]{2}) \| ([^|]+) \| ([^|]+) \|$")
NAMED = re.compile(r"`([a-z-]+)::(\w+)`( \(on request\))?")
# A test function with the attributes and comments right above it.
RUST = re.compile(
    r"((?:^[ \t]*(?:#\[.*\]|//.*)\n)+)^[ \t]*(?:async )?fn (\w+)\(", re.MULTILINE
)
PYTHON = re.compile(r"^\s+def (test_\w+)\(", re.MULTILINE)
IDS = re.compile(r"^(?:[a-i][0-9]{2}_)+")


def rust_tests(text: str) -> dict[str, bool]:
    """Names of the test functions in a Rust file; True for one that is ignored unless asked for."""
    found = {}
    for attributes, name in RUST.findall(text):
        lines = [line.strip() for line in attributes.splitlines()]
        if "#[test]" in lines:
            found[name] = any(line.startswith("#[ignore") for line in lines)
    return found


def tests_of(folders: list[str]) -> dict[str, bool]:
    """Every test below the folders of a crate."""
    found = {}
    for folder in folders:
        for root, directories, files in os.walk(folder):
            directories[:] = [name for name in directories if name != "node_modules"]
            for file in files:
                with open(os.path.join(root, file), encoding="utf-8", errors="replace") as source:
                    text = source.read()
                if file.endswith(".rs"):
                    found.update(rust_tests(text))
                elif file.endswith(".py"):
                    found.update({name: False for name in PYTHON.findall(text)})
    return found


def rows_of(text: str) -> list[tuple[str, str]]:
    """Id and last cell of each row of the table."""
    rows = (ROW.match(line) for line in text.splitlines())
    return [(row[1], row[3]) for row in rows if row]


def problems(rows: list[tuple[str, str]], tests: dict[str, dict[str, bool]]) -> list[str]:
    """What is wrong with the table."""
    bad = []
    wanted = [f"{group}{n:02}" for group, count in GROUPS.items() for n in range(1, count + 1)]
    if [case for case, _ in rows] != wanted:
        missing = [case for case in wanted if case not in dict(rows)]
        bad.append(f"the rows are not the {len(wanted)} cases in order; missing: {missing}")
    for case, cell in rows:
        named = NAMED.findall(cell)
        if not named and not re.match(r"Not yet: .{10,}\.$", cell):
            bad.append(f"{case}: neither a test nor a reason")
        if "Not yet" in cell and named:
            bad.append(f"{case}: both a test and a reason why there is none; say 'In part'")
        if cell.count("::") != len(named):
            bad.append(f"{case}: something that looks like a test is not written as `crate::test`")
        for crate, name, on_request in named:
            if name not in tests.get(crate, {}):
                bad.append(f"{case}: there is no test {crate}::{name}")
            elif tests[crate][name] != bool(on_request):
                bad.append(f"{case}: {crate}::{name} is marked (on request) if and only if it is ignored")
    cells = dict(rows)
    for crate, names in tests.items():
        for name in names:
            ids = IDS.match(name)
            for case in ids[0].strip("_").upper().split("_") if ids else []:
                if f"`{crate}::{name}`" not in cells.get(case, ""):
                    bad.append(f"{case}: the table does not name {crate}::{name}")
    return bad


def check_the_check(rows: list[tuple[str, str]], tests: dict[str, dict[str, bool]]) -> None:
    """Controls: each kind of mistake, made on purpose in the real table, is found."""
    sample = '/// a\n#[test]\n#[ignore = "b"]\nfn c() {}\n\nfn d() {}\n// #[test]\nfn e() {}\n'
    assert rust_tests(sample) == {"c": True}, "tests are not read from source"
    index = next(i for i, (_, cell) in enumerate(rows) if NAMED.search(cell))
    case, cell = rows[index]
    crate, name, _ = NAMED.search(cell).groups()

    def replaced(new: str) -> list[tuple[str, str]]:
        return [*rows[:index], (case, new), *rows[index + 1 :]]

    without = {key: {n: i for n, i in names.items() if n != name} for key, names in tests.items()}
    added = {**tests, crate: {**tests[crate], "a01_that_nobody_listed": False}}
    mistakes = {
        "a test that is gone": (rows, without),
        "a test that was renamed": (replaced(cell.replace(name, name + "x")), tests),
        "a test that is not listed": (rows, added),
        "a row that is missing": (rows[:-1], tests),
        "a row that stands twice": ([rows[0], *rows], tests),
        "an empty promise": (replaced("Covered."), tests),
        "a wrong mark": (replaced(cell.replace(f"`{crate}::{name}`", f"`{crate}::{name}` (on request)", 1)), tests),
    }
    clean = set(problems(rows, tests))
    for what, (bad_rows, bad_tests) in mistakes.items():
        assert set(problems(bad_rows, bad_tests)) - clean, f"not noticed: {what}"


def main() -> int:
    with open("SECURITY.md", encoding="utf-8") as file:
        rows = rows_of(file.read())
    tests = {crate: tests_of(folders) for crate, folders in CRATES.items()}
    bad = problems(rows, tests)
    for line in bad:
        print(line)
    if not bad:
        check_the_check(rows, tests)
    full = sum(not cell.startswith(("Not yet", "In part")) for _, cell in rows)
    part = sum(cell.startswith("In part") for _, cell in rows)
    print(f"{len(rows)} cases: {full} tested, {part} in part, {len(rows) - full - part} not yet; {len(bad)} mistakes")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
