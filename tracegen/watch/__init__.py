"""Checks in the loop of a simulation: the same rules as `checker`'s, in Python, at full speed, on every seed."""
