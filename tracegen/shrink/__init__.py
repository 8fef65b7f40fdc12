"""Makes a failing run small: fewer operations, faults, nodes and keys, until what is left reads like a story."""
