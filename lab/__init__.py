"""Several real libvirt hosts on one Linux machine: made in seconds, taken away without a trace."""
