"""A cluster in containers, each node with a machine of its own.

`engine.py` gets to Docker and removes what was made there, `images.py` builds what runs, `machine.py` is what the
harness has its hands on at each node (its code there: `agent.py`), `cluster.py` is the backend.
"""
