#!/usr/bin/env python3
"""Chooses a small corpus: of the inputs of one folder those that together reach what all of them reach, as far as the limits allow.

Usage: choose.py MERGE_CONTROL_FILE OUT_FOLDER. libFuzzer's merge wrote the control file: for each input the edges (COV) and the
finer features (FT) that it reaches. Edges are covered first, then features; each time the input is taken that brings most.
"""

import pathlib
import shutil
import sys

FILES_MAX = 280
BYTES_MAX = 900_000


def read_control(path):
    """The inputs' paths, and for each its size, edges and features."""
    lines = path.read_text().splitlines()
    count = int(lines[0])
    inputs = [pathlib.Path(line) for line in lines[2:2 + count]]
    facts = {index: [0, set(), set()] for index in range(count)}
    for line in lines[2 + count:]:
        word, index, *values = line.split()
        if word == "STARTED":
            facts[int(index)][0] = int(values[0])
        elif word in ("COV", "FT"):
            facts[int(index)][1 if word == "COV" else 2].update(map(int, values))
    return inputs, facts


def choose(facts):
    """Indices in the order in which they are taken."""
    chosen, size = [], 0
    for kind in (1, 2):
        left = set().union(*(fact[kind] for fact in facts.values()))
        for index in chosen:
            left -= facts[index][kind]
        rest = set(facts) - set(chosen)
        while left and rest and len(chosen) < FILES_MAX:
            best = max(rest, key=lambda index: (len(facts[index][kind] & left), -facts[index][0]))
            rest.discard(best)
            gain = facts[best][kind] & left
            if not gain:
                break
            if size + facts[best][0] > BYTES_MAX:
                continue
            chosen.append(best)
            size += facts[best][0]
            left -= gain
    return chosen


def main():
    inputs, facts = read_control(pathlib.Path(sys.argv[1]))
    out = pathlib.Path(sys.argv[2])
    for index in choose(facts):
        shutil.copyfile(inputs[index], out / inputs[index].name)


main()
