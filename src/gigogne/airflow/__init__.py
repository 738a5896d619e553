"""Airflow as an orchestrator of Compose projects: `ComposeDag`, and the operators that it is made of.

::

    from gigogne.airflow import ComposeDag

    dag = ComposeDag("fraud", project="/opt/airflow/project", schedule="@daily")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from gigogne.errors import EngineError

if TYPE_CHECKING:
    from gigogne.airflow.dag import ComposeDag, ComposeTaskGroup
    from gigogne.airflow.operators import ProjectOperator, ServiceOperator, StartServersOperator, StopServersOperator

__all__ = [
    "ComposeDag",
    "ComposeTaskGroup",
    "ProjectOperator",
    "ServiceOperator",
    "StartServersOperator",
    "StopServersOperator",
]

_MODULES = {"ComposeDag": "dag", "ComposeTaskGroup": "dag"}


def __getattr__(name: str) -> Any:
    """The classes, once they are asked for: what needs no Airflow is imported without it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(f"{__name__}.{_MODULES.get(name, 'operators')}"), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "airflow":
            raise
        raise EngineError(
            f"{__name__}.{name} needs Apache Airflow 3.3 or newer, which this Python does not have; "
            "install it: pip install 'gigogne[airflow]'"
        ) from None


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
