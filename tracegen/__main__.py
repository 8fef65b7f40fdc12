"""`python -m tracegen`: the same as the command `tracegen`."""

from tracegen.cli import main

main()
