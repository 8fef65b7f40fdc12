"""The protocol edges: what clients and tools say to a node over HTTP. No rules of storage live here."""
