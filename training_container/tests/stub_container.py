"""The product's container as campaigns of faults need it: training takes no time, and a model may misbehave.

A campaign goes through the loop some hundreds of times, and what a network learns is not what it looks at: `train`
gives out a model again that was trained before. What `serve` does is the member "behavior" of the model's card:

- "crashes": it ends when it has started;
- "dies of a crowd": it ends when two pictures come at once, which those of a smoke test do not;
- "fails": every picture is a failure of the server;
- "fails FILE": so it is while the file exists;
- "slow": every picture takes SLOW_SECONDS;
- "hangs": no picture comes to an end.
"""

import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
from skyloop_container.__main__ import main
from skyloop_container.environment import Environment
from skyloop_container.hyperparameters import parse_hyperparameters
from skyloop_container.inference import Detector, Prediction

SLOW_SECONDS = 3.0


def train(environment: Environment) -> None:
    """Leave the model of SKYLOOP_STUB_MODEL with a card that says it was trained by this job."""
    hyperparameters = parse_hyperparameters(environment.hyperparameters())
    shutil.copytree(os.environ["SKYLOOP_STUB_MODEL"], environment.model_dir, dirs_exist_ok=True)
    card = environment.model_dir / "model.json"
    content = json.loads(card.read_text())
    content["training_job"] = environment.training_job_name()
    content["dataset_id"] = hyperparameters.dataset_id
    content["correlation_id"] = hyperparameters.correlation_id
    card.write_text(json.dumps(content))
    print("done", flush=True)


def misbehave(environment: Environment) -> None:
    """Change the detector of this process as the model's card says."""
    card = json.loads((environment.model_dir / "model.json").read_text())
    behavior, _, file = card.get("behavior", "").partition(" ")
    predict = Detector.predict

    def changed(detector: Detector, image: np.ndarray, *how: Any, **more: Any) -> Prediction:
        if behavior == "fails" and (not file or Path(file).exists()):
            raise RuntimeError("as asked")
        if behavior == "dies" and detector._pictures > 1:
            os._exit(1)
        if behavior == "slow":
            time.sleep(SLOW_SECONDS)
        if behavior == "hangs":
            threading.Event().wait()
        return predict(detector, image, *how, **more)

    if behavior == "crashes":
        sys.exit("as asked")
    Detector.predict = changed  # type: ignore[method-assign]


if __name__ == "__main__":
    if sys.argv[1] == "train":
        train(Environment.current())
    else:
        if sys.argv[1] == "serve":
            misbehave(Environment.current())
        sys.exit(main(sys.argv[1:]))
