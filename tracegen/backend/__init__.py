"""Where a cluster runs. `face.py` is what a run and its nemeses need of one; `process.py` runs nodes as processes."""
