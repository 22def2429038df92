"""The network of the paper (arXiv:2405.16511), for comparison; it needs e3nn."""
