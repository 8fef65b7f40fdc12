"""The other nodes: who they are, that they are who they say, and how to talk to them."""
