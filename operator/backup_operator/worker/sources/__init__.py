"""Room `worker.sources`."""
