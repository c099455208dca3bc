"""How Wafa is run: topics, keys, and the stack of one machine."""
