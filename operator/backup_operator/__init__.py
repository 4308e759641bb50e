"""Backup Operator: backups and restores of PostgreSQL and Redis on Kubernetes."""

__version__ = "0.1.0"
