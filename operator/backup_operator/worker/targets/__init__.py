"""Room `worker.targets`: servers that a backup is restored into; knows neither sources, stages nor the store."""
