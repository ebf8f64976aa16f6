"""Endpoints over the end of the cloud: a clean stop, and kill -9."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from botocore.exceptions import ClientError

from laptop import lifecycle
from tests.conformance.conftest import Cloud, wait_until
from tests.conformance.endpoints.conftest import Hosting, make_hosting


class OwnCloud:
    """A cloud of one test, which can be stopped, killed and started again over the same home."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.process: subprocess.Popen[bytes] | None = None
        self.port = 0

    def start(self) -> Cloud:
        running, self.process = lifecycle.start(self.home, port=self.port)
        self.port = running.port
        return Cloud(running.endpoint_url, self.home)

    def stop(self) -> None:
        assert self.process is not None
        lifecycle.stop(self.process)

    def kill(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def serving(self) -> list[int]:
        """Serving programs that run over this home."""
        found = []
        for process in psutil.process_iter(["cmdline"]):
            try:
                if "program.py" in (process.info["cmdline"] or []):
                    base = process.environ().get("SAGEMAKER_BASE_DIR", "")
                    found += [process.pid] * base.startswith(str(self.home))
            except psutil.Error:
                continue
        return found


@pytest.fixture
def own(tmp_path: Path) -> Iterator[OwnCloud]:
    cloud = OwnCloud(tmp_path / "home")
    yield cloud
    if cloud.process and cloud.process.poll() is None:
        cloud.stop()


def _prepared(own: OwnCloud) -> tuple[Hosting, str, str]:
    hosting = make_hosting(own.start())
    model = hosting.model()
    name = hosting.in_service(hosting.create(hosting.config(hosting.variant(model))))
    hosting.api.update_endpoint_weights_and_capacities(
        EndpointName=name, DesiredWeightsAndCapacities=[{"VariantName": "AllTraffic", "DesiredInstanceCount": 2}]
    )
    hosting.in_service(name)
    return hosting, name, model


def model_serving(hosting: Hosting, name: str) -> str:
    """Which model answers, once one does: a cloud that starts does not wait long for slow containers."""

    def answer() -> str | None:
        try:
            return hosting.invoke(name)["model"]
        except ClientError:
            return None

    return wait_until(answer, what=f"an answer of {name}")


def test_an_endpoint_serves_again_after_a_stop_and_a_start(own: OwnCloud) -> None:
    _, name, model = _prepared(own)
    own.stop()
    assert own.serving() == []
    again = Hosting(own.start(), "", "")
    assert model_serving(again, name) == model
    description = again.until(name, "InService")
    assert description["ProductionVariants"][0]["CurrentInstanceCount"] == 2


def test_an_endpoint_that_cannot_be_brought_back_now_is_brought_back_later(own: OwnCloud) -> None:
    _, name, model = _prepared(own)
    own.kill()
    folder = own.home / "endpoints"
    wait_until(lambda: own.serving() == [])
    shutil.rmtree(folder)
    folder.write_text("in the way of every folder that an instance needs")
    again = Hosting(own.start(), "", "")
    assert again.describe(name)["EndpointStatus"] == "SystemUpdating"
    with pytest.raises(ClientError) as refused:
        again.invoke(name)
    assert refused.value.response["Error"]["Code"] == "ServiceUnavailable"
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        again.api.delete_endpoint(EndpointName=name)
    folder.unlink()
    assert again.until(name, "InService")["ProductionVariants"][0]["CurrentInstanceCount"] == 2
    assert model_serving(again, name) == model


def test_nothing_of_an_endpoint_outlives_a_killed_cloud(own: OwnCloud) -> None:
    _prepared(own)
    assert len(own.serving()) >= 2
    own.kill()
    wait_until(lambda: own.serving() == [])


def test_an_update_that_the_cloud_did_not_survive_is_rolled_back(own: OwnCloud) -> None:
    hosting, name, model = _prepared(own)
    old = hosting.describe(name)["EndpointConfigName"]
    new = hosting.config(hosting.variant(hosting.model(), count=2))
    traffic: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 600}
    policy = {"BlueGreenUpdatePolicy": {"TrafficRoutingConfiguration": traffic}}
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=policy)
    wait_until(lambda: hosting.invoke(name)["model"] != model)
    interrupted = lifecycle._health(hosting.cloud.endpoint_url)["in_progress"]
    assert interrupted == [{"kind": "endpoint", "name": name, "afterwards": "is rolled back"}]
    own.stop()
    assert own.serving() == []
    again = Hosting(own.start(), "", "")
    assert model_serving(again, name) == model
    assert again.until(name, "InService")["EndpointConfigName"] == old
