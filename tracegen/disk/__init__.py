"""A real disk that loses what was not synced.

`platter.py` is what is there and what would be lost, `passthrough.py` mounts it (FUSE, a process of its own), and
`power.py` is the harness's hand on it.
"""
