"""MLflow, where MLFLOW_TRACKING_URI is set: parameters, metrics per epoch, the artifacts, and the batch's tags.

A tracking server that cannot be reached must not end a training: the failure is printed once, and the job goes on.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .environment import write_whole


class Tracker:
    """One MLflow run for one training job. It does nothing where no tracking URI is set.

    A resumed job continues its run: the run's id is kept beside the checkpoints.
    """

    def __init__(self, name: str, tags: dict[str, str], parameters: dict[str, Any], checkpoint_dir: Path) -> None:
        self._mlflow: Any = None
        uri = os.environ.get("MLFLOW_TRACKING_URI", "")
        if not uri:
            return
        if uri.startswith("file:") or "://" not in uri:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # MLflow 3.7 and later refuse folders without it
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")  # the image has no git, and MLflow would warn about it
        self._attempt(lambda: self._start(name, tags, parameters, checkpoint_dir / "mlflow-run-id"))

    def epoch(self, number: int, values: dict[str, float]) -> None:
        """Log an epoch's metrics under its number (from 1)."""
        if self._mlflow:
            self._attempt(lambda: self._mlflow.log_metrics(values, step=number))

    def finish(self, artifacts: list[Path], metrics: dict[str, float]) -> None:
        """Log the files and final metrics and end the run as FINISHED."""
        if self._mlflow:
            self._attempt(lambda: [self._mlflow.log_artifact(str(path)) for path in artifacts])
            self._attempt(lambda: self._mlflow.log_metrics(metrics))
            self.end("FINISHED")

    def end(self, status: str) -> None:
        """End the run: FINISHED, FAILED or KILLED (MLflow's names)."""
        if self._mlflow:
            self._attempt(lambda: self._mlflow.end_run(status))
            self._mlflow = None

    def _start(self, name: str, tags: dict[str, str], parameters: dict[str, Any], id_file: Path) -> None:
        import mlflow

        if not _continued(mlflow, id_file):
            mlflow.set_experiment(os.environ.get("MLFLOW_EXPERIMENT_NAME", "skyloop"))
            run = mlflow.start_run(run_name=name or None)
            mlflow.set_tags(tags)
            mlflow.log_params(parameters)
            id_file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(id_file, run.info.run_id.encode())
        self._mlflow = mlflow

    def _attempt(self, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception as error:  # MLflow raises its own errors, requests' and the store's; none may end a training
            print(f"MLflow: {type(error).__name__}: {error}; training goes on without it.", flush=True)
            self._mlflow = None


def _continued(mlflow: Any, id_file: Path) -> bool:  # noqa: ANN401  # MLflow has no types
    """Whether the run whose id the file holds goes on; not where the file is damaged, or the server forgot the run."""
    if not id_file.exists():
        return False
    try:
        mlflow.start_run(run_id=id_file.read_text(encoding="utf-8").strip())
    except (mlflow.exceptions.MlflowException, ValueError):
        return False
    return True
