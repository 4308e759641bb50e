"""The test cluster: a real Kubernetes for the end-to-end tests and the demo, on kind or on a node of our own.

Run as `python3 -m tests.cluster VERB` by the Makefile. It needs nothing but the standard library, because it runs
before any virtual environment exists. Everything else in the repository knows the cluster by its KUBECONFIG only.
"""
