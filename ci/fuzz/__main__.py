"""`python -m ci.fuzz [TARGET...]`: a line for each target, fed a million inputs; exit code 1 if one crashed."""

import argparse
import sys

from ci.fuzz.engine import by_chance, by_coverage, has_atheris
from ci.fuzz.targets import TARGETS


def main() -> int:
    """The command line; returns the exit code."""
    names = [target.name for target in TARGETS]
    parser = argparse.ArgumentParser(prog="python -m ci.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(names)}; without one, all")
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="for each target (default 1000000)")
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="the same inputs for the same seed (default 1)"
    )
    parser.add_argument("--by-chance", action="store_true", help="without atheris, also where it is installed")
    options = parser.parse_args()
    if unknown := set(options.targets) - set(names):
        parser.error(f"there is no target {', '.join(sorted(unknown))}; there are {', '.join(names)}")
    guided = has_atheris() and not options.by_chance
    print(f"{options.inputs:,} inputs each, {'guided by coverage' if guided else 'by chance, without atheris'}")
    crashes = 0
    for target in TARGETS:
        if options.targets and target.name not in options.targets:
            continue
        if guided:
            fed = by_coverage(target.name, target.seeds, options.inputs, options.seed)
        else:
            fed = by_chance(target, target.seeds, options.inputs, options.seed)
        understood = "" if fed.understood is None else f", {fed.understood:,} understood"
        edges = "" if fed.edges is None else f", {fed.edges:,} edges"
        print(f"{target.name:16} {fed.inputs:10,} inputs in {fed.seconds:6.0f} s{understood}{edges}", flush=True)
        if fed.crash is not None:
            crashes += 1
            print(f"  CRASH {fed.crash}", flush=True)
    return 1 if crashes else 0


if __name__ == "__main__":
    sys.exit(main())
