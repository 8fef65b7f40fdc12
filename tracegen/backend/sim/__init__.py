"""A whole cluster in one process: `impl/node` behind simulated doors, in virtual time. Same seed, same trace.

This room alone in the harness imports `impl`.
"""
