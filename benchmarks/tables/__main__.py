"""Write the tables of README.md and benchmarks/README.md from the rows under results/.

    python -m benchmarks.tables [--check]

Each table stands between `<!-- NAME -->` and `<!-- /NAME -->`; `--check` only says whether the
files are up to date, and exits 1 if not.
"""

from __future__ import annotations

import argparse
import sys

from benchmarks.harness import ROOT
from benchmarks.tables.fill import FILES, filled, stale


def main() -> None:
    """Fill or check every file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    check = parser.parse_args().check
    for path in FILES:
        if check and stale(path):
            sys.exit(f"{path.relative_to(ROOT)}: tables are not those of benchmarks/results")
        if not check:
            path.write_text(filled(path.read_text()))


if __name__ == "__main__":
    main()
