"""Room `controller`: the operator process, Kopf and the door to the API server; wires the pure rooms together."""
