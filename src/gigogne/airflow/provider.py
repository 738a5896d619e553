"""What Airflow shows of this package among its providers."""

from __future__ import annotations

from typing import Any

import gigogne

__all__ = ["get_provider_info"]


def get_provider_info() -> dict[str, Any]:
    """The provider in Airflow's own words."""
    return {
        "package-name": "gigogne",
        "name": "Gigogne",
        "description": "Compose projects as DAGs.",
        "versions": [gigogne.__version__],
        "integrations": [
            {
                "integration-name": "Docker Compose",
                "external-doc-url": "https://docs.docker.com/compose/",
                "tags": ["software"],
            }
        ],
        "operators": [{"integration-name": "Docker Compose", "python-modules": ["gigogne.airflow.operators"]}],
        "triggers": [{"integration-name": "Docker Compose", "python-modules": ["gigogne.airflow.trigger"]}],
    }
