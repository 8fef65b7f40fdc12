"""One client request from start to end: coordinator, reader, lister, and the replica that answers them."""
