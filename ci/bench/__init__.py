"""Benchmarks: each prints a table with its peer's figures from the same run. Nothing here is a test."""
