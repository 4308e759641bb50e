"""Room `worker`: the engine in the backup image; knows no Kubernetes, takes an order and answers with a report."""
