"""The checker's errors: all of them mean "could not check" (exit code 2), never "refused"."""


class CannotCheck(Exception):
    """There is no verdict, and this is why. The message is for a person: what was wrong, the value seen, what to do."""
