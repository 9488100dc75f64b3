"""The agent: one on each physical host; it knows the head node only through the protocol."""
