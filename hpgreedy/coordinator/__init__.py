"""The shell of the head node: timers, threads and the two doors; decisions are made elsewhere."""
