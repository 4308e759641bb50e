"""Room `api`: what users write and read: spec and status of BackupPolicy and RestoreRequest, and the CRDs."""
