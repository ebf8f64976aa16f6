"""Endpoints: the API and its state rules. `runtime` holds what runs.

Source: API reference of CreateEndpoint, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, DeleteEndpoint and
DescribeEndpoint; the texts of refusals are those that callers report from AWS, unless a comment says otherwise.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping
from typing import ClassVar

from laptop.sagemaker.core import errors, tags
from laptop.sagemaker.core.context import Context
from laptop.sagemaker.core.room import InProgress, Operations, Room
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints import blue_green, describe, rollout
from laptop.sagemaker.endpoints.kinds import Kinds
from laptop.sagemaker.endpoints.models import Models
from laptop.sagemaker.endpoints.runtime import Runtime

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
_AFTER_A_STOP: Mapping[str, str] = {
    "Creating": "begins again",
    "Updating": "goes on with its update",
    "RollingBack": "goes on with its rollback",
    "Deleting": "is deleted",
}
# Every instance is a process here. The quota can be set in the home's sagemaker.json.
_INSTANCE_LIMIT = 20


class Endpoints(Room):
    """Endpoints."""

    def __init__(self, context: Context, kinds: Kinds, models: Models, runtime: Runtime) -> None:
        super().__init__(context)
        self._kinds = kinds
        self._models = models
        self._runtime = runtime

    def create(self, request: Record) -> Record:
        """Create an endpoint; it becomes InService, or Failed, in the background."""
        name, arn = request["EndpointName"], self._kinds.endpoints.arn(request["EndpointName"])
        tags.check(request.get("Tags", []))
        config = self._snapshot(self._kinds.configs.get(request["EndpointConfigName"]))
        counts = describe.instance_counts(config)
        blue_green.plan(request.get("DeploymentConfig"), counts)
        self._check_alarms(request.get("DeploymentConfig"))
        now = time.time()
        record: Record = {
            "EndpointName": name,
            "EndpointArn": arn,
            "EndpointConfigName": request["EndpointConfigName"],
            "EndpointStatus": "Creating",
            "CreationTime": now,
            "LastModifiedTime": now,
            "Tags": request.get("Tags", []),
            "_config": config,
        }
        if "DeploymentConfig" in request:
            record["LastDeploymentConfig"] = request["DeploymentConfig"]
        with self.context.store.lock:
            if self._kinds.endpoints.find(name) is not None:
                raise self._kinds.endpoints.taken(arn)
            self._check_quota(config["ProductionVariants"][0]["InstanceType"], sum(counts.values()))
            self._kinds.endpoints.create(record)
        self._runtime.create(record)
        return {"EndpointArn": arn}

    def update(self, request: Record) -> Record:
        """Deploy another config, blue/green. In the end it is InService on the new config, or on the old one."""
        name = request["EndpointName"]
        record = self._kinds.endpoints.get(name)
        _check_idle(record)
        config = self._snapshot(self._kinds.configs.get(request["EndpointConfigName"]))
        self._kinds.configs.get(record["EndpointConfigName"])  # AWS refuses when the config in service has been deleted
        _check_same_variants(record, config)
        if request.get("RetainAllVariantProperties"):
            _retain(record, config, request.get("ExcludeRetainedVariantProperties", []))
        elif request.get("ExcludeRetainedVariantProperties"):
            # The documents call it a list of exceptions to RetainAllVariantProperties; what AWS answers was not seen.
            raise errors.validation("ExcludeRetainedVariantProperties needs RetainAllVariantProperties.")
        guardrails = request.get("DeploymentConfig")
        if request.get("RetainDeploymentConfig"):
            if guardrails is not None:
                raise errors.validation("DeploymentConfig cannot be specified together with RetainDeploymentConfig.")
            guardrails = record.get("LastDeploymentConfig")
        counts = describe.instance_counts(config)
        blue_green.plan(guardrails, counts)
        self._check_alarms(guardrails)
        with self.context.store.lock:
            _check_idle(self._kinds.endpoints.get(name))
            self._check_quota(config["ProductionVariants"][0]["InstanceType"], sum(counts.values()))
            now = time.time()
            update = {"config": config, "guardrails": guardrails, "began": now}
            changes: Record = {"EndpointStatus": "Updating", "LastModifiedTime": now, "_update": update}
            if guardrails is not None:
                changes["LastDeploymentConfig"] = guardrails
            marked = self._kinds.endpoints.update(name, changes)
        self._runtime.update(marked)
        return {"EndpointArn": record["EndpointArn"]}

    def update_weights_and_capacities(self, request: Record) -> Record:
        """Change weights and instance counts of variants in service; until it is done, the endpoint is Updating."""
        name = request["EndpointName"]
        desired = request["DesiredWeightsAndCapacities"]
        record = self._kinds.endpoints.get(name)
        _check_idle(record)
        known = {variant["VariantName"]: variant for variant in record["ProductionVariants"]}
        names = [item["VariantName"] for item in desired]
        if missing := [variant for variant in names if variant not in known]:
            raise _not_present(missing, record["EndpointConfigName"])
        if repeated := [variant for variant, count in Counter(names).items() if count > 1]:
            raise errors.validation(f"Duplicate production variant names found: {', '.join(repeated)}.")
        for item in desired:
            if "ServerlessUpdateConfig" in item:
                raise errors.validation(f"Production variant {item['VariantName']} is not serverless.")
            if item.get("DesiredInstanceCount") == 0:
                # AWS: only variants that host inference components scale to zero; its text was not seen.
                raise errors.validation("DesiredInstanceCount must be greater than or equal to 1.")
        with self.context.store.lock:
            _check_idle(self._kinds.endpoints.get(name))
            added = sum(
                max(0, item.get("DesiredInstanceCount", 0) - known[item["VariantName"]]["CurrentInstanceCount"])
                for item in desired
            )
            self._check_quota(record["_config"]["ProductionVariants"][0]["InstanceType"], added)
            changes = {"EndpointStatus": "Updating", "LastModifiedTime": time.time(), "_update": {"desired": desired}}
            marked = self._kinds.endpoints.update(name, changes)
        self._runtime.update(marked)
        return {"EndpointArn": record["EndpointArn"]}

    def delete(self, request: Record) -> Record:
        """Delete an endpoint that is not in progress; its processes end before it is gone."""
        name = request["EndpointName"]
        with self.context.store.lock:
            _check_not_in_progress(self._kinds.endpoints.get(name))
            marked = self._kinds.endpoints.update(name, {"EndpointStatus": "Deleting", "LastModifiedTime": time.time()})
        self._runtime.delete(marked)
        return {}

    def describe(self, request: Record) -> Record:
        """The whole record."""
        return self._kinds.endpoints.describe(request)

    def list_endpoints(self, request: Record) -> Record:
        """One page of endpoints."""
        return self._kinds.endpoints.list(request)

    def in_progress(self) -> list[InProgress]:
        """The endpoints that are being made or changed."""
        return [
            InProgress("endpoint", record["EndpointName"], _AFTER_A_STOP[status] + _to(record))
            for record in self._kinds.endpoints.all()
            if (status := record["EndpointStatus"]) in _AFTER_A_STOP
        ]

    def start(self) -> None:
        """Bring back the endpoints that were there when the cloud stopped."""
        self._runtime.start()

    def stop(self) -> None:
        """End every instance; the records stay."""
        self._runtime.stop()

    def _snapshot(self, config: Record) -> Record:
        """A config with its models resolved: what serves does not change when a model or config is deleted."""
        for variant in config["ProductionVariants"]:
            model = self._kinds.models.get(variant["ModelName"])
            variant["_container"] = self._models.container(model)
            variant["_role"] = model["ExecutionRoleArn"]
        return config

    def _check_alarms(self, guardrails: Record | None) -> None:
        names = blue_green.alarms(guardrails)
        if missing := sorted(set(names) - rollout.alarm_states(self.context, names).keys()):
            # AWS would roll nothing back on an alarm that is not there; whether it refuses, and how, was not seen.
            raise errors.validation(f"Could not find CloudWatch alarms: {', '.join(missing)}.")

    def _check_quota(self, instance_type: str, added: int) -> None:
        limit = self.context.settings().get("endpoint_instances", _INSTANCE_LIMIT)
        used = sum(
            variant["InitialInstanceCount"]
            for record in self._kinds.endpoints.all()
            if record["EndpointStatus"] != "Failed"
            for variant in record["_config"]["ProductionVariants"]
        )
        if added and used + added > limit:
            raise errors.limit_exceeded(
                f"The account-level service limit '{instance_type} for endpoint usage' is {limit} Instances, with "
                f"current utilization of {used} Instances and a request delta of {added} Instances. Please use AWS "
                "Service Quotas to request an increase for this quota. If AWS Service Quotas is not available, contact "
                "AWS support to request an increase for this quota."
            )

    OPERATIONS: ClassVar[Operations] = {
        "CreateEndpoint": create,
        "UpdateEndpoint": update,
        "UpdateEndpointWeightsAndCapacities": update_weights_and_capacities,
        "DescribeEndpoint": describe,
        "ListEndpoints": list_endpoints,
        "DeleteEndpoint": delete,
    }


def _to(record: Record) -> str:
    """Where an update goes that a restart begins anew; "" for what only changes numbers of instances, or goes back."""
    config = (record.get("_update") or {}).get("config")
    if record["EndpointStatus"] != "Updating" or config is None:
        return ""
    return f" to {config['EndpointConfigName']}, from the beginning of its bake"


def _check_not_in_progress(record: Record) -> None:
    if record["EndpointStatus"] in _IN_PROGRESS:
        raise errors.validation(f'Cannot update in-progress endpoint "{record["EndpointArn"]}".')


def _check_idle(record: Record) -> None:
    _check_not_in_progress(record)
    if record["EndpointStatus"] in ("Failed", "OutOfService"):
        # Documented: DeleteEndpoint is the only operation on a failed endpoint. The text was not seen.
        raise errors.validation(
            f'Cannot update endpoint "{record["EndpointArn"]}" with status "{record["EndpointStatus"]}".'
        )


def _check_same_variants(record: Record, config: Record) -> None:
    old = {variant["VariantName"] for variant in record["_config"]["ProductionVariants"]}
    new = {variant["VariantName"] for variant in config["ProductionVariants"]}
    if missing := sorted(old - new):
        raise _not_present(missing, config["EndpointConfigName"])
    if added := sorted(new - old):
        raise _not_present(added, record["EndpointConfigName"])


def _not_present(names: list[str], config_name: str) -> errors.ServiceError:
    listed = ", ".join(names)
    return errors.validation(
        f'The variant name(s) "{listed}" is/are not present within endpoint configuration "{config_name}".'
    )


def _retain(record: Record, config: Record, excluded: list[dict[str, str]]) -> None:
    """Take over instance counts, weights and data capture from what is in service, except the excluded kinds."""
    kinds = {item["VariantPropertyType"] for item in excluded}
    current = {variant["VariantName"]: variant for variant in record["ProductionVariants"]}
    for variant in config["ProductionVariants"]:
        now = current[variant["VariantName"]]
        if "DesiredInstanceCount" not in kinds:
            variant["InitialInstanceCount"] = now["DesiredInstanceCount"]
        if "DesiredWeight" not in kinds:
            variant["InitialVariantWeight"] = now["DesiredWeight"]
    if "DataCaptureConfig" not in kinds:
        config.pop("DataCaptureConfig", None)
        if kept := record["_config"].get("DataCaptureConfig"):
            config["DataCaptureConfig"] = kept
