"""Room `worker.store`."""
