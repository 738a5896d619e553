"""The folder that MLflow keeps of a model: the classifier, the code that reads it, and MLflow's description of both.

`MLmodel` is MLflow's documented format. It is written here, not by `mlflow.pyfunc`, which would put pandas into the
trainer's image. Any MLflow loads the result: `mlflow.pyfunc.load_model("models:/catalog-classifier@champion")`.
"""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import catalog
from catalog import classifier, features, pyfunc
from catalog.classifier import Classifier
from catalog.names import FOLDER

__all__ = ["write_package"]

CODE, PACKAGE = "code", "catalog"
EXAMPLE = "input_example.json"
# What the classifier needs to be read, and no more.
SERVED = (classifier, features, pyfunc)
INPUTS = [{"type": "string", "name": name, "required": True} for name in ("designation", "description")]
OUTPUTS = [
    {"type": "long", "name": "prdtypecode", "required": True},
    {"type": "double", "name": "probability", "required": True},
]


def write_package(
    folder: Path, classifier: Classifier, *, model_id: str, run_id: str, example: tuple[str, str]
) -> None:
    """Write the folder of a model, with one (designation, description) as its input example."""
    (folder / FOLDER).mkdir()
    classifier.save(folder / FOLDER)
    code = folder / CODE / PACKAGE
    code.mkdir(parents=True)
    for module in (catalog, *SERVED):
        source = Path(str(module.__file__))
        (code / source.name).write_bytes(source.read_bytes())
    needs = [f"mlflow=={version('mlflow-skinny')}", f"numpy=={version('numpy')}", "pandas>=2.2,<4"]
    (folder / "requirements.txt").write_text("".join(f"{line}\n" for line in needs), encoding="utf-8")
    columns = {"columns": ["designation", "description"], "data": [list(example)]}
    (folder / EXAMPLE).write_text(json.dumps(columns, ensure_ascii=False), encoding="utf-8")
    environment = {"python": platform.python_version(), "dependencies": ["-r requirements.txt"]}
    (folder / "python_env.yaml").write_text(json.dumps(environment, indent=2), encoding="utf-8")
    # JSON is YAML.
    described = json.dumps(_description(model_id, run_id), indent=2)
    (folder / "MLmodel").write_text(described, encoding="utf-8")


def _description(model_id: str, run_id: str) -> dict[str, Any]:
    return {
        "artifact_path": f"models:/{model_id}",
        "flavors": {
            "python_function": {
                "loader_module": "catalog.pyfunc",
                "code": CODE,
                "data": FOLDER,
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
        "signature": {"inputs": json.dumps(INPUTS), "outputs": json.dumps(OUTPUTS), "params": None},
        "utc_time_created": datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S.%f"),
    }
