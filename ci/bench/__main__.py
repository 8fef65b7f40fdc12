"""`python -m ci.bench [name...]`; without a name, all of BENCHMARKS, one after the other."""

import importlib
import sys

BENCHMARKS = (
    "checker",
    "server",
    "memory",
    "simulator",
    "guided",
    "shrinking",
    "second_read",
    "healing",
    "archive",
    "healing_cost",
    "many_heads",
)


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        print(f"bench: there is no {', '.join(unknown)}; there are: {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 2
    for name in names or BENCHMARKS:
        print(f"\n{name}\n")
        importlib.import_module(f"ci.bench.{name}").main()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
