"""Tests, the test cluster, the demo and the benchmarks; run from the root of the checkout."""
