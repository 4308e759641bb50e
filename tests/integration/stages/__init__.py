"""Tests of `worker.stages` against gpg, gunzip and zstd, and on large streams."""
