#!/usr/bin/env bash
# Explores the models of the link protocol: builds each with spin and gcc, runs it to its end, prints a line each, fails on the first claim that does not hold.
exec python3 "$(dirname "${BASH_SOURCE[0]}")/run.py" "$@"
