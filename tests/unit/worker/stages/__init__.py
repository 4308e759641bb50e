"""Tests of `worker.stages` without I/O."""
