"""The pure core: what the node decides. No I/O, no clock, no randomness; mirrors spec/tla/Register.tla."""
