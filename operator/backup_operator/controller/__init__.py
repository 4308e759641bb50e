"""Room `controller`."""
