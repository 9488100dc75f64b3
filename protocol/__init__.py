"""What coordinator, agents and clients must agree on; free of input and output except in `transport`."""

__version__ = "0.1.0"
PROTOCOL_VERSION = 1
