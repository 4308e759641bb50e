"""Room `worker.stages`: compress and encrypt, each with a decode twin, and the chain of both; used by the engine."""
