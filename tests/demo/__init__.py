"""The demo: two databases backed up on a cluster, both files opened with stock programs. `make demo` runs it."""
