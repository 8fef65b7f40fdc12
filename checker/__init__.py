"""Says whether what a system really did is a behaviour of its spec. Knows no protocol: see spec/ and manifest.py."""
