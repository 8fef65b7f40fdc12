"""Amberio's reference storage server: a small replicated, S3-shaped object store whose runs can be checked."""
