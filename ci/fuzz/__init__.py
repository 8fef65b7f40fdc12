"""Feeds what parses strangers' bytes with a million inputs each: `python -m ci.fuzz`, or `make fuzz`."""
