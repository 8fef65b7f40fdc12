"""Steers a swarm: what its runs reached, which seeds are worth varying, and what no run ever reached."""
