"""What breaks a cluster, one file a fault; `inject.py` carries out a planned one.

Each nemesis strikes, proves by a probe of its own that the fault bites while it lasts, and heals. A fault that was only
meant to happen is no evidence, so a run whose probes saw nothing is not adequate.
"""
