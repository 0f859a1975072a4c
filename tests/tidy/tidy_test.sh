#!/usr/bin/env bash
# The tidy test: first that the rules find what they should, then that the tree breaks none of them.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export PYTHONDONTWRITEBYTECODE=1
python3 "$here/tidy_rules_test.py" --quiet
python3 "$here/tidy.py" "$here/../.."
