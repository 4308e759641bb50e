"""The demo: two databases backed up, their files opened with stock programs, a table brought back; `make demo`."""
