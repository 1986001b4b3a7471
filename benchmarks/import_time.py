"""How long ``import lookahead_rl`` takes beside ``import gymnasium, pettingzoo``.

Each import runs in a fresh interpreter, the two taking turns; a turn times the import statement alone, from inside.

    python benchmarks/import_time.py [--json FILE] [--turns 21]
"""

import argparse
import json
import subprocess
import sys
from pathlib import Path
from statistics import median

STATEMENTS = {"lookahead_rl": "import lookahead_rl", "peers": "import gymnasium, pettingzoo"}


def import_seconds(statement: str) -> float:
    code = f"import time; begun = time.perf_counter(); {statement}; print(time.perf_counter() - begun)"
    return float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the rows here")
    parser.add_argument("--turns", type=int, default=21, help="interpreters for each statement")
    arguments = parser.parse_args()
    seen: dict[str, list[float]] = {name: [] for name in STATEMENTS}
    for turn in range(arguments.turns + 1):
        for name, statement in STATEMENTS.items():
            taken = import_seconds(statement)
            if turn > 0:  # the first turn fills the disk cache and writes bytecode
                seen[name].append(taken)
    medians = {name: median(values) for name, values in seen.items()}
    table = [
        {
            "benchmark": "import_time",
            "statement": STATEMENTS[name],
            "seconds": taken,
            "ratio": taken / medians["peers"],
            "target": 1.5,
        }
        for name, taken in medians.items()
    ]
    for row in table:
        print(f"{row['statement']:30} {row['seconds']:.3f} s   ratio {row['ratio']:.2f}")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=2) + "\n")


if __name__ == "__main__":
    main()
