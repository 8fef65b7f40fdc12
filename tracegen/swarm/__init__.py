"""Thousands of simulated runs: each seed draws a scenario of its own, and every run is looked at in the loop."""
