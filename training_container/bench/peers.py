"""Servers as people build them around the same weights, for `bench.serving`: one of them runs until it is ended.

    python -m training_container.bench.peers fastapi|litserve MODEL PORT

- fastapi: FastAPI around Ultralytics' own predict on model.pt, a process for each core, as Ultralytics' guides have it.
- litserve: LitServe around ONNX Runtime on model.onnx, a worker for each core: letterbox and suppression are ours, the
  network's input is the padded square.

Neither cuts large pictures, describes them for a drift alarm, or refuses what makes a decoder slow.
"""

import argparse
import importlib.util
import json
import os
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from skyloop_container.environment import available_cores
from skyloop_container.inference import letterbox, select_boxes
from starlette.requests import Request

from training_container.bench.endpoint import HOST

CONFIDENCE = 0.25


def fastapi_app() -> object:
    """The application of one process. MODEL and THREADS are in the environment, for each process makes its own."""
    import torch
    from fastapi import FastAPI
    from fastapi.concurrency import run_in_threadpool
    from skyloop_container.ultralytics_setup import import_torchvision

    import_torchvision()  # or Ultralytics cannot be imported beside a torch for CPUs
    from ultralytics import YOLO

    torch.set_num_threads(int(os.environ["THREADS"]))
    model_dir = Path(os.environ["MODEL"])
    model, app = YOLO(model_dir / "model.pt"), FastAPI()
    size = _card(model_dir)["imgsz"]

    def predict(body: bytes) -> list[dict[str, Any]]:
        image = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
        (found,) = model.predict(image, imgsz=size, conf=CONFIDENCE, verbose=False)
        boxes = found.boxes
        return [
            {"box": box, "confidence": confidence, "category": found.names[int(category)]}
            for box, confidence, category in zip(
                boxes.xyxy.tolist(), boxes.conf.tolist(), boxes.cls.tolist(), strict=True
            )
        ]

    @app.get("/ping")
    async def ping() -> dict[str, str]:
        return {}

    async def invocations(request: Request) -> list[dict[str, Any]]:
        return await run_in_threadpool(predict, await request.body())

    app.post("/invocations")(invocations)
    return app


def run_fastapi(model_dir: Path, port: int, cores: int) -> None:
    """A process for each core: threads of one would wait for each other in Python."""
    import uvicorn

    os.environ |= {"MODEL": str(model_dir), "THREADS": "1"}
    name = "training_container.bench.peers:fastapi_app"
    uvicorn.run(name, factory=True, host=HOST, port=port, workers=cores, log_level="warning")


if importlib.util.find_spec("litserve"):
    import litserve

    class LitDetect(litserve.LitAPI):  # type: ignore[misc]
        """What each worker of LitServe does. It is made in processes of its own, so it has a place of its own."""

        def __init__(self, model_dir: Path) -> None:
            super().__init__(api_path="/invocations")
            self.model_dir = model_dir

        def setup(self, _: str) -> None:
            """Load the network."""
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            cv2.setNumThreads(1)
            self.size = _card(self.model_dir)["imgsz"]
            path = str(self.model_dir / "model.onnx")
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

        def decode_request(self, request: Request) -> np.ndarray:
            """The picture, BGR. By its type LitServe knows that it is no JSON; it hands on the form."""
            body = request["picture"].file.read()
            return cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)

        def predict(self, image: np.ndarray) -> list[list[float]]:
            """Boxes with scores and categories."""
            rgb = cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
            padded, fit = letterbox(rgb, self.size / max(rgb.shape[:2]), square=True)
            blob = np.multiply(padded.transpose(2, 0, 1)[None], np.float32(1 / 255), dtype=np.float32)
            output, _ = self.session.run(None, {"images": blob})
            boxes, scores, categories = select_boxes(output[0], CONFIDENCE)
            boxes = (boxes - (fit.left, fit.top, 0, 0)) / ((fit.across, fit.down) * 2)
            return np.concatenate([boxes, scores[:, None], categories[:, None]], axis=1).tolist()

        def encode_response(self, output: list[list[float]]) -> dict[str, Any]:
            """The answer."""
            return {"boxes": output}


def run_litserve(model_dir: Path, port: int, cores: int) -> None:
    """A worker process for each core. It takes a picture as a form's file, for LitServe reads no bare bytes."""
    server = litserve.LitServer(LitDetect(model_dir), accelerator="cpu", workers_per_device=cores)
    server.run(host=HOST, port=port, log_level="warning", generate_client_file=False)


def _card(model_dir: Path) -> dict[str, Any]:
    card: dict[str, Any] = json.loads((model_dir / "model.json").read_text(encoding="utf-8"))
    return card


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=("fastapi", "litserve"))
    parser.add_argument("model", type=Path)
    parser.add_argument("port", type=int)
    given = parser.parse_args()
    run = run_fastapi if given.peer == "fastapi" else run_litserve
    run(given.model, given.port, available_cores())
