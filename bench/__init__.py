"""What `make bench` runs: the hot paths, each beside the least that such a path could cost."""
