import json
from pathlib import Path

import mlflow

mlflow.set_experiment("iris")
with mlflow.start_run():
    mlflow.log_param("depth", 3)
    mlflow.log_metric("accuracy", 0.97)
    Path("tree.txt").write_text("leaf")
    mlflow.log_artifact("tree.txt")
runs = mlflow.search_runs(experiment_names=["iris"], output_format="list")
print(json.dumps([{"params": run.data.params, "metrics": run.data.metrics} for run in runs]))
