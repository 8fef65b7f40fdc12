"""The harness: starts a real cluster, loads it, breaks it on purpose, and leaves a run for the checker to judge.

Knows nodes only by their HTTP face, their configuration file and their traces; only `backend/sim` imports `impl`,
as it runs the server's own code in place.
"""
