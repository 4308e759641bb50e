"""Room `manifests`: Kubernetes objects as plain dicts, pure; called by `controller`, pinned by golden files."""
