"""A serving container that tests steer: by its Environment when it starts, by the request's body when it serves."""

import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
BEHAVIOR = os.environ.get("BEHAVIOR", "")
BASE = Path(os.environ["SAGEMAKER_BASE_DIR"])


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.answer(503 if BEHAVIOR == "never healthy" else 200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        command, _, argument = body.decode("utf-8", "replace").partition(" ")
        if command == "die":
            os._exit(7)
        if command == "sleep":
            time.sleep(float(argument))
        if command == "status" or BEHAVIOR == "fails":
            self.answer(int(argument or 500), b'{"error": "as asked"}')
            return
        answer = {
            "pid": os.getpid(),
            "model": os.environ.get("MODEL_NAME"),
            "weights": (BASE / "model" / "weights.txt").read_text(),
            "bytes": len(body),
            "type": self.headers.get("Content-Type"),
            "accept": self.headers.get("Accept"),
            "arguments": sys.argv[1:],
            "region": os.environ.get("AWS_REGION"),
        }
        self.answer(200, json.dumps(answer).encode(), self.headers.get(ATTRIBUTES))

    def answer(self, status: int, body: bytes, attributes: str | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        if attributes:
            self.send_header(ATTRIBUTES, f"heard {attributes}")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Silence: only what the program prints is its log."""


if BEHAVIOR == "crashes":
    sys.exit("no model here")
if BEHAVIOR == "slow start":
    time.sleep(3)
print(f"serving {os.environ.get('MODEL_NAME')}", flush=True)
ThreadingHTTPServer(("127.0.0.1", int(os.environ["SAGEMAKER_BIND_TO_PORT"])), Handler).serve_forever()
