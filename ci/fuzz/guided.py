"""One target under atheris: `python -m ci.fuzz.guided TARGET CORPUS [libFuzzer's options]`; started by engine.py."""

import importlib
import sys


def main() -> None:
    """Never returns: libFuzzer ends the process."""
    atheris = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["impl"]):
        from ci.fuzz.targets import TARGETS
    target = next(target for target in TARGETS if target.name == sys.argv[1])

    def once(fuzzed: bytes) -> None:
        target(fuzzed)

    atheris.Setup([sys.argv[0], *sys.argv[2:]], once)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
