"""The product's container, but for training: that gives a model out again which was trained before, in no time.

A fault campaign goes through the loop some hundreds of times, and what a network learns is not what it looks at.
"""

import json
import os
import shutil
import sys
from pathlib import Path

from skyloop_container.__main__ import main
from skyloop_container.environment import Environment
from skyloop_container.hyperparameters import parse_hyperparameters

MODEL = Path(os.environ["SKYLOOP_STUB_MODEL"])


def train(environment: Environment) -> None:
    """Leave the model with a card that says it was trained by this job."""
    hyperparameters = parse_hyperparameters(environment.hyperparameters())
    shutil.copytree(MODEL, environment.model_dir, dirs_exist_ok=True)
    card = environment.model_dir / "model.json"
    content = json.loads(card.read_text())
    content["training_job"] = environment.training_job_name()
    content["dataset_id"] = hyperparameters.dataset_id
    content["correlation_id"] = hyperparameters.correlation_id
    card.write_text(json.dumps(content))
    print("done", flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Environment.current())
    else:
        sys.exit(main(sys.argv[1:]))
