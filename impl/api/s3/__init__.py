"""The S3 API: what S3's clients say to a node, and what they expect to hear. No rules of storage live here."""
