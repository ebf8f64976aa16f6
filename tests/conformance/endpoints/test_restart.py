"""Endpoints over the end of the cloud: a clean stop, and kill -9."""

from __future__ import annotations

import shutil
import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
from botocore.exceptions import ClientError

from laptop import lifecycle
from tests.conformance.conftest import Cloud, settings_file, wait_until
from tests.conformance.endpoints.conftest import Hosting, make_hosting
from tests.conformance.endpoints.test_deployments import LONG, canary, make_alarm, ring


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


def _baking(own: OwnCloud, *, wait: int, termination: int = 0) -> tuple[Hosting, str, str, str, str, str]:
    """An endpoint in the middle of a canary: it, its model, the old config, the new one, and the alarm that ends it.

    The first phase lasts `wait` seconds, the second one so long and `termination` seconds more.
    """
    hosting, name, model = _prepared(own)
    alarm = make_alarm(hosting, name)
    old = hosting.describe(name)["EndpointConfigName"]
    new = hosting.config(hosting.variant(hosting.model(), count=2))
    config = canary(wait, alarm)
    config["BlueGreenUpdatePolicy"]["TerminationWaitInSeconds"] = termination
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=config)
    return hosting, name, model, old, new, alarm


def _models(hosting: Hosting, name: str) -> set[str]:
    return {hosting.invoke(name)["model"] for _ in range(40)}


def _ended(own: OwnCloud, how: str) -> Hosting:
    """The same cloud after it was killed, or stopped, and started again."""
    getattr(own, how)()
    wait_until(lambda: own.serving() == [])
    return Hosting(own.start(), "", "")


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_canary_goes_on_after_the_cloud_ended_in_it(own: OwnCloud, how: str) -> None:
    hosting, name, _, old, new, _ = _baking(own, wait=LONG)
    wait_until(lambda: len(_models(hosting, name)) == 2)
    interrupted = lifecycle._health(hosting.cloud.endpoint_url)["in_progress"]
    afterwards = f"goes on with its update to {new}, from the beginning of its bake"
    assert interrupted == [{"kind": "endpoint", "name": name, "afterwards": afterwards}]
    began = hosting.describe(name)["PendingDeploymentSummary"]["StartTime"]
    again = _ended(own, how)
    found = lifecycle._health(again.cloud.endpoint_url)["found"]
    assert f"The endpoint {name} {afterwards}." in found
    description = again.describe(name)
    assert description["EndpointStatus"] == "Updating"
    assert description["EndpointConfigName"] == old
    assert description["PendingDeploymentSummary"]["EndpointConfigName"] == new
    assert description["PendingDeploymentSummary"]["StartTime"] == began
    wait_until(lambda: len(_models(again, name)) == 2, what="traffic for both models again")
    with pytest.raises(ClientError, match="Cannot update in-progress endpoint"):
        again.api.update_endpoint(EndpointName=name, EndpointConfigName=new)

    settings_file(again.cloud, "sagemaker", {"bake_speed": 1000})  # of the bakes that begin from now on
    last = _ended(own, how)
    description = last.until(name, "InService")
    assert description["EndpointConfigName"] == new
    assert "PendingDeploymentSummary" not in description
    assert len(_models(last, name)) == 1


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_an_alarm_still_ends_a_canary_that_goes_on_in_its_second_phase(own: OwnCloud, how: str) -> None:
    hosting, name, before, old, _, alarm = _baking(own, wait=0, termination=LONG)
    wait_until(lambda: before not in _models(hosting, name), what="all traffic for the new model")
    again = _ended(own, how)
    wait_until(lambda: before not in _models(again, name), what="all traffic for the new model again")
    ring(again, alarm)
    description = again.until(name, "InService")
    assert description["EndpointConfigName"] == old
    assert not description.get("FailureReason")
    assert _models(again, name) == {before}


@pytest.mark.parametrize("how", ["kill", "stop"])
def test_a_rollback_goes_on_after_the_cloud_ended_in_it(own: OwnCloud, how: str) -> None:
    hosting, name, before, old, _, alarm = _baking(own, wait=LONG)
    wait_until(lambda: len(_models(hosting, name)) == 2)
    with ThreadPoolExecutor(16) as requests:
        for _ in range(16):  # the fleet that leaves still answers some of them
            requests.submit(hosting.invoke, name, "sleep 3")
        ring(hosting, alarm)
        hosting.until(name, "RollingBack")
        hosting.cloud.client("cloudwatch").set_alarm_state(AlarmName=alarm, StateValue="OK", StateReason="by hand")
        again = _ended(own, how)
    description = again.until(name, "InService")
    assert description["EndpointConfigName"] == old
    assert "PendingDeploymentSummary" not in description
    assert _models(again, name) == {before}


def test_an_alarm_that_rang_while_the_new_fleet_started_is_not_forgotten(own: OwnCloud) -> None:
    hosting, name, _ = _prepared(own)
    alarm = make_alarm(hosting, name)
    old = hosting.describe(name)["EndpointConfigName"]
    new = hosting.config(hosting.variant(hosting.model(BEHAVIOR="slow start"), count=2))
    hosting.api.update_endpoint(EndpointName=name, EndpointConfigName=new, DeploymentConfig=canary(1, alarm))
    ring(hosting, alarm)
    description = _ended(own, "kill").until(name, "InService")
    assert description["EndpointConfigName"] == old


def test_new_counts_come_although_the_cloud_was_killed_on_the_way(own: OwnCloud) -> None:
    hosting = make_hosting(own.start())
    slow = hosting.model(BEHAVIOR="slow start")
    name = hosting.in_service(hosting.create(hosting.config(hosting.variant(slow))))
    desired = [{"VariantName": "AllTraffic", "DesiredInstanceCount": 3, "DesiredWeight": 5}]
    hosting.api.update_endpoint_weights_and_capacities(EndpointName=name, DesiredWeightsAndCapacities=desired)
    assert hosting.describe(name)["EndpointStatus"] == "Updating"
    variant = _ended(own, "kill").until(name, "InService")["ProductionVariants"][0]
    assert (variant["CurrentInstanceCount"], variant["CurrentWeight"]) == (3, 5.0)


def test_endpoints_that_are_made_and_deleted_are_so_although_the_cloud_is_killed(own: OwnCloud) -> None:
    hosting = make_hosting(own.start())
    doomed = hosting.serving()
    coming = hosting.create(hosting.config(hosting.variant(hosting.model(BEHAVIOR="slow start"))))
    hosting.api.delete_endpoint(EndpointName=doomed)
    assert hosting.describe(coming)["EndpointStatus"] == "Creating"
    again = _ended(own, "kill")
    wait_until(lambda: again.gone(doomed), what=f"{doomed} to be deleted")
    again.in_service(coming)
