"""skyloop_container.engines.openvino: what must happen before two threads use it."""

import subprocess
import sys
from pathlib import Path

CONTAINER = Path(__file__).parents[1]
SCRIPT = """
import os, sys, threading
from skyloop_container.engines import openvino as ours
together = threading.Barrier(8)
sys.setswitchinterval(1e-6)

def ask():
    together.wait()
    ours.openvino.Type.f32.to_dtype()

threads = [threading.Thread(target=ask) for _ in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("asked", flush=True)
os._exit(0)
"""


def test_threads_that_ask_for_a_type_at_once_do_not_wait_for_each_other() -> None:
    """Without the module's own first question they did, eight times of eight."""
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, cwd=CONTAINER, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "asked\n"
