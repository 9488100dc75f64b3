"""The only socket code: ROUTER and DEALER over CURVE, keys and the files they live in."""
