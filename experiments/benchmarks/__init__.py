"""Benchmarks, and what every script of ``experiments/`` shares (``script``)."""
