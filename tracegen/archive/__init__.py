"""The archive behind the cluster: what a scenario says of it, what breaks it, and whether it holds what it should."""
