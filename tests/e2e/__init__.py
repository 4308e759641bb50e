"""End-to-end tests: the chart, the images and the CRDs on a real cluster, which is known by KUBECONFIG alone."""
