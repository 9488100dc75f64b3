"""Speed and memory, one command each; never part of a timed test."""
