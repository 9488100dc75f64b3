"""What is in flight: durable state machines without input or output. Events in, changes and commands out."""
