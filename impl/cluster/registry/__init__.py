"""The cluster's configuration, agreed on once: the first one that is written wins."""
