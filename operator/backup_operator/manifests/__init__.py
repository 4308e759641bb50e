"""Room `manifests`."""
