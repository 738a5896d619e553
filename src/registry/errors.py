"""What may go wrong with models in MLflow, as one line that says what, and what to do."""

from __future__ import annotations

from job.errors import JobError

__all__ = ["RegistryError"]


class RegistryError(JobError):
    """MLflow, or the PostgreSQL that has the locks, did not give what it was asked for."""
