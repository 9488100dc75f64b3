"""The command line: parse, ask the coordinator, show what it answers. Holds no state of the cluster."""
