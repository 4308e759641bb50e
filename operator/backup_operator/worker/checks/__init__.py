"""Room `worker.checks`: what must hold after a restore; it gets a connection and knows no target, stage or store."""
