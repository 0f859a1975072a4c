#!/usr/bin/env python3
"""Checks the rules of this source tree that a program can check, and prints each breach as FILE:LINE: what.

Usage: tidy.py ROOT. Exit status 0: no breach; 1: some. Each rule is one function that takes the sources and yields
breaches; tidy_rules_test.py shows for each that it finds what it is meant to find.
"""

import pathlib
import re
import sys

FOLDERS = ("shm_layout", "machine", "libclient", "daemon", "gpu_proc", "tools", "bench", "examples", "tests")
# The folders whose code reads or writes words that two processes share.
SHARED_FOLDERS = ("shm_layout", "libclient", "daemon")
SUFFIXES = (".hpp", ".cpp", ".h", ".c", ".cu", ".cuh")
# Their words, and those of the segments that gpu_proc writes, are ordered by labelled edges.
LABELLED_FOLDERS = SHARED_FOLDERS + ("gpu_proc",)
# The one file that may spell atomic operations out.
DOOR = "shm_layout/cell.hpp"

LINES_MAX = 400
TEST_LINES_MAX = 600
FUNCTION_LINES_MAX = 70
COLUMNS_MAX = 100

# [E1] is an edge of a link's segments, [F1] a pair of full fences, [P1] an edge of the frames segment, [S1] of the state segment.
LABEL = re.compile(r"\[([EFPS]\d+)\]")
ORDERED = re.compile(r"\b(load_acquire|store_release|fence_acquire|fence_release|fence_full|fence_light)\s*\(")
WRITES = ("store_release", "fence_release", "store_relaxed")
READS = ("load_acquire", "fence_acquire", "load_relaxed")
RELAXED_REASON = re.compile(r"relaxed(?:\s|//)+because", re.IGNORECASE)  # comments are wrapped
RELAXED_CELL = re.compile(r"\b(load_relaxed|store_relaxed)\s*\(")
RELAXED = re.compile(r"\b(?:load_relaxed|store_relaxed)\s*\(|\bmemory_order_relaxed\b")
# A relaxed atomic of one process's own is allowed beside the door, with its reason; a Cell cannot be reached with it.
BESIDE_THE_DOOR = re.compile(r"\bmemory_order(?!_relaxed\b)|\batomic_")
INCLUDE = re.compile(r'^\s*#\s*include\s*["<]([^">]+)[">]')
TOKEN = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"(?P<mark>[^()\s\\]*)\(.*?\)(?P=mark)"|"(?:\\.|[^"\\\n])*"|(?<![0-9A-Fa-f])\'(?:\\.|[^\'\\\n])+\'',
    re.DOTALL)
NOT_A_FUNCTION = re.compile(r"^\s*(?:namespace|class|struct|union|enum|extern)\b|=\s*$")


def blank(match):
    """The matched text with everything but its line feeds replaced by spaces."""
    return re.sub(r"[^\n]", " ", match.group(0))


class Source:
    """One file: its lines as written, and the same lines without comments and literals."""

    def __init__(self, name, text):
        self.name = name
        self.folder = name.split("/")[0]
        self.lines = text.splitlines()
        self.code = TOKEN.sub(blank, text).splitlines()
        self.is_test = self.folder == "tests"
        self.functions = list(find_functions(self.code))

    def file_comment(self):
        """The comment that opens the file."""
        end = next((i for i, line in enumerate(self.lines) if not line.startswith("//")), len(self.lines))
        return "\n".join(self.lines[:end])

    def statement_end(self, index):
        """The line on which the statement that reaches into line `index` ends: the first with a ; or a {."""
        for end in range(index, min(index + 6, len(self.code))):
            if re.search(r"[;{]", self.code[end]):
                return end
        return index

    def function_start(self, index):
        """The first line of the function that holds line `index`, or the line itself outside of functions."""
        for start, end in self.functions:
            if start <= index <= end:
                return start
        return index


def find_functions(code):
    """First and last line of every function body; a body inside another one belongs to it."""
    depth = 0
    function_depth = None
    start = 0
    header = ""
    header_line = 0
    for index, line in enumerate(code):
        if line.lstrip().startswith("#"):
            continue
        for character in line:
            if character == "{":
                is_function = ")" in header and not NOT_A_FUNCTION.search(header)
                if function_depth is None and is_function:
                    function_depth = depth
                    start = header_line
                depth += 1
                header = ""
            elif character == "}":
                depth -= 1
                header = ""
                if function_depth == depth:
                    yield start, index
                    function_depth = None
            elif character == ";":
                header = ""
            else:
                if not header.strip() and not character.isspace():
                    header_line = index
                header += character
        header += " "


def check_sizes(sources):
    """Short files, short functions, short lines."""
    for source in sources:
        limit = TEST_LINES_MAX if source.is_test else LINES_MAX
        if len(source.lines) > limit:
            yield source, 0, f"{len(source.lines)} lines, more than {limit}"
        for start, end in source.functions:
            if end - start + 1 > FUNCTION_LINES_MAX:
                yield source, start, f"function of {end - start + 1} lines, more than {FUNCTION_LINES_MAX}"
        for index, line in enumerate(source.lines):
            if len(line) > COLUMNS_MAX:
                yield source, index, f"{len(line)} columns, more than {COLUMNS_MAX}"


def check_unfinished(sources):
    """Nothing is left for later."""
    for source in sources:
        for index, line in enumerate(source.lines):
            if re.search(r"\b(?:TODO|FIXME|XXX)\b", line):
                yield source, index, "unfinished: finish it or open an issue"


def check_sleeping_tests(sources):
    """A test waits for an event or moves a virtual clock; it never sleeps."""
    for source in sources:
        if not source.is_test:
            continue
        for index, line in enumerate(source.code):
            if re.search(r"\b(?:sleep_for|sleep_until|usleep|nanosleep|sleep)\s*\(", line):
                yield source, index, "a test that sleeps: wait for an event instead"


def check_door(sources):
    """Shared words are reached through Cell and the fences beside it, nowhere else."""
    for source in sources:
        if source.folder not in SHARED_FOLDERS or source.name == DOOR:
            continue
        for index, line in enumerate(source.code):
            if BESIDE_THE_DOOR.search(line):
                yield source, index, f"atomic operation outside {DOOR}"


def labels_near(source, index, lines_above):
    """Labels in the lines above, the line itself, the rest of its statement and the line after that."""
    first = max(0, index - lines_above)
    return set(LABEL.findall("\n".join(source.lines[first:source.statement_end(index) + 2])))


def operations(sources, pattern, lines_above):
    """Every match of the pattern in code that orders shared words, with the labels that stand by it."""
    for source in sources:
        if source.folder not in LABELLED_FOLDERS or source.name == DOOR:
            continue
        for index, line in enumerate(source.code):
            for match in pattern.finditer(line):
                yield source, index, match.group(1), labels_near(source, index, lines_above)


def check_labels(sources):
    """Each ordering names its edge, and each edge has both of its sides in the tree."""
    sides = {}
    for source, index, operation, labels in operations(sources, ORDERED, 3):
        if not labels:
            yield source, index, f"{operation} without its edge: say [E..] and what pairs with it"
        for label in labels:
            sides.setdefault(label, []).append((operation, source, index))
    # Where a fence orders a relaxed access, that access is a side of the edge it names.
    for source, index, operation, labels in operations(sources, RELAXED_CELL, 1):
        for label in labels & set(sides):
            sides[label].append((operation, source, index))
    for label, uses in sorted(sides.items()):
        used = [operation for operation, _, _ in uses]
        both = any(operation in WRITES for operation in used) and any(operation in READS for operation in used)
        if not both and used.count("fence_full") < 2:
            yield uses[0][1], uses[0][2], f"[{label}] has one side only"


def check_relaxed(sources):
    """A relaxed access says, in its function or in the file's header, why no ordering is needed."""
    for source in sources:
        if source.is_test or source.name == DOOR:
            continue
        if RELAXED_REASON.search(source.file_comment()):
            continue
        for index, line in enumerate(source.code):
            if not RELAXED.search(line):
                continue
            start = min(source.function_start(index), max(0, index - 12))
            text = "\n".join(source.lines[start:source.statement_end(index) + 2])
            if not RELAXED_REASON.search(text):
                yield source, index, 'relaxed without "relaxed because"'


def check_includes(sources):
    """shm_layout <- libclient <- gpu_proc, tools, bench, examples; shm_layout <- daemon; machine for the programs; never across."""
    forbidden = {
        "shm_layout": ("machine/", "libclient/", "ackbus/", "daemon/", "gpu_proc/", "tools/", "bench/", "tests/"),
        "machine": ("libclient/", "ackbus/", "daemon/", "gpu_proc/", "tools/", "bench/", "tests/"),
        "libclient": ("machine/", "daemon/", "gpu_proc/", "tools/", "bench/", "tests/"),
        "daemon": ("libclient/", "ackbus/", "gpu_proc/", "tools/", "bench/", "tests/"),
        "gpu_proc": ("daemon/", "tools/", "tests/"),
        "tools": ("daemon/", "tests/"),
        "examples": ("machine/", "daemon/", "libclient/", "shm_layout/"),
    }
    for source in sources:
        for index, line in enumerate(source.lines):
            match = INCLUDE.match(line)
            if match and match.group(1).startswith(forbidden.get(source.folder, ())):
                yield source, index, f"{source.folder} must not include {match.group(1)}"


def check_headers(sources):
    """A header is included once and opens by saying what it is for."""
    for source in sources:
        if source.name.endswith(".hpp"):
            if "#pragma once" not in source.lines:
                yield source, 0, "header without #pragma once"
            if source.lines and not source.lines[0].startswith("//"):
                yield source, 0, "header that does not open with a comment on its purpose"


def check_edge_list(sources, text):
    """docs/memory-model.md lists each edge of the code once, and no other."""
    listed = re.findall(r"^\| " + LABEL.pattern, text, re.MULTILINE)
    used = set()
    for _, _, _, labels in operations(sources, ORDERED, 3):
        used |= labels
    for label in sorted(used - set(listed)):
        yield f"[{label}] of the code is not listed"
    for label in sorted(set(listed) - used):
        yield f"[{label}] is listed, but no code has it"
    for label in sorted({label for label in listed if listed.count(label) > 1}):
        yield f"[{label}] is listed more than once"


LITMUS = re.compile(r'litmus_of<[^"]*?>\(\s*"(\w+)",\s*"([^"]*)"')


def check_litmus(sources, text):
    """Each row of docs/memory-model.md ends with the litmus tests of its edge, which are there and say so themselves."""
    edges_of = {}
    for source in sources:
        if source.name.startswith("tests/weak/"):
            for name, edges in LITMUS.findall("\n".join(source.lines)):
                edges_of[name] = edges.split()
    rows = dict(re.findall(r"^\| " + LABEL.pattern + r" \|.* \| ([^|]*) \|$", text, re.MULTILINE))
    for label, cell in rows.items():
        names = re.findall(r"`(\w+)`", cell)
        if not names:
            yield f"[{label}] has no litmus test"
        for name in names:
            if name not in edges_of:
                yield f"[{label}] names the litmus test {name}, which is not there"
            elif label not in edges_of[name]:
                yield f"[{label}] names the litmus test {name}, which is not about it"
    for name, edges in edges_of.items():
        for label in edges:
            if label not in rows:
                yield f"the litmus test {name} is about [{label}], which is not listed"


def check_quotes(text, read):
    """What README.md prints between BEGIN file: NAME and END file: NAME is that file, word for word."""
    blocks = re.findall(r"<!-- BEGIN file: (\S+) -->\n(.*?)<!-- END file: \1 -->", text, re.DOTALL)
    for name, block in blocks:
        if block != f"```cpp\n{read(name)}```\n":
            yield f"does not print {name} as it is"
    if not blocks:
        yield "prints no example"


def check_links(text, exists):
    """Every relative link of a text leads to a file of the tree."""
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", text):
        if "://" not in target and not exists(target):
            yield f"links to {target}, which is not there"


CHECKS = (check_sizes, check_unfinished, check_sleeping_tests, check_door, check_labels, check_relaxed,
          check_includes, check_headers)


def breaches(sources):
    for check in CHECKS:
        for source, index, what in check(sources):
            yield f"{source.name}:{index + 1}: {what}"


def read_sources(root):
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*")):
            if path.suffix in SUFFIXES and path.is_file():
                yield Source(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8"))


def text_breaches(root, sources):
    def read(name):
        path = root / name
        return path.read_text(encoding="utf-8") if path.is_file() else ""

    for check in (check_edge_list, check_litmus):
        for what in check(sources, read("docs/memory-model.md")):
            yield f"docs/memory-model.md: {what}"
    for what in check_quotes(read("README.md"), read):
        yield f"README.md: {what}"
    for path in sorted([*root.glob("*.md"), *root.glob("docs/**/*.md"), *root.glob("shm_layout/*.md")]):
        text = path.read_text(encoding="utf-8")
        for what in check_links(text, lambda target, base=path.parent: (base / target).exists()):
            yield f"{path.relative_to(root)}: {what}"


def main(root):
    sources = list(read_sources(root))
    found = [*breaches(sources), *text_breaches(root, sources)]
    for breach in found:
        print(breach)
    print(f"tidy: {len(sources)} files, {len(found)} breaches")
    return 1 if found or not sources else 0


if __name__ == "__main__":
    sys.exit(main(pathlib.Path(sys.argv[1])))
