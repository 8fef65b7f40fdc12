"""HTTP/1.1 itself: bytes to requests and answers to bytes, on httptools. Knows nothing of what the requests mean."""
