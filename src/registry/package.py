"""The folder that MLflow keeps of a model: its files, the code that reads them, and MLflow's description of both.

`MLmodel` is MLflow's documented format. It is written here, not by `mlflow.pyfunc`, which would put pandas into the
trainer's image. Any MLflow loads the result: `mlflow.pyfunc.load_model("models:/NAME@champion")`.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["Package", "write_package"]

CODE, EXAMPLE = "code", "input_example.json"


@dataclass(frozen=True)
class Package:
    """What MLflow is told of a model, so that it can load it by itself.

    Attributes:
        loader: The module whose `_load_pyfunc` takes the folder of the files.
        code: The modules that travel with the model: the loader, what it imports of ours, and their packages.
        inputs: The columns that it reads, with the types that MLflow gives them ("string", "double").
        outputs: The columns that it answers with.
        example: A row of inputs; NaN is a value that is missing.
        save: Writes the model's files into an empty folder.
    """

    loader: ModuleType
    code: Sequence[ModuleType]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    example: Sequence[object]
    save: Callable[[Path], None]


def write_package(root: Path, package: Package, *, folder: str, model_id: str, run_id: str) -> None:
    """Write the package of a model into an empty folder, the model's own files into the one of this name in it."""
    (root / folder).mkdir()
    package.save(root / folder)
    for module in package.code:
        source = Path(str(module.__file__))
        place = root / CODE / Path(*module.__name__.split("."))
        place = place / source.name if source.name == "__init__.py" else place.with_name(source.name)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(source.read_bytes())
    needs = [f"mlflow=={version('mlflow-skinny')}", f"numpy=={version('numpy')}", "pandas>=2.2,<4"]
    (root / "requirements.txt").write_text("".join(f"{line}\n" for line in needs), encoding="utf-8")
    row = [None if value != value else value for value in package.example]
    columns = {"columns": list(package.inputs), "data": [row]}
    (root / EXAMPLE).write_text(json.dumps(columns, ensure_ascii=False), encoding="utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (root / "python_env.yaml").write_text(json.dumps(environment, indent=2), encoding="utf-8")
    # JSON is YAML.
    described = json.dumps(_description(package, folder, model_id, run_id), indent=2)
    (root / "MLmodel").write_text(described, encoding="utf-8")


def _description(package: Package, folder: str, model_id: str, run_id: str) -> dict[str, Any]:
    return {
        "artifact_path": f"models:/{model_id}",
        "flavors": {
            "python_function": {
                "loader_module": package.loader.__name__,
                "code": CODE,
                "data": folder,
                "env": {"virtualenv": "python_env.yaml"},
                "python_version": platform.python_version(),
            }
        },
        "mlflow_version": version("mlflow-skinny"),
        "model_id": model_id,
        "model_uuid": model_id,
        "run_id": run_id,
        "saved_input_example_info": {
            "artifact_path": EXAMPLE,
            "pandas_orient": "split",
            "type": "dataframe",
        },
        "signature": {"inputs": _columns(package.inputs), "outputs": _columns(package.outputs), "params": None},
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }


def _columns(columns: Mapping[str, str]) -> str:
    return json.dumps([{"type": kind, "name": name, "required": True} for name, kind in columns.items()])
