"""HP Greedy: the brain and the head node, and the client."""
