"""Endpoints: the API and its state rules. `runtime` holds what runs.

Source: API reference of CreateEndpoint, UpdateEndpoint, UpdateEndpointWeightsAndCapacities, DeleteEndpoint and
DescribeEndpoint; the texts of refusals are those that callers report from AWS, unless a comment says otherwise.
"""

from __future__ import annotations

import time
from collections import Counter

from laptop.sagemaker.core import context, errors, tags
from laptop.sagemaker.core.store import Record
from laptop.sagemaker.endpoints import blue_green, configs, models, rollout, runtime
from laptop.sagemaker.endpoints.kinds import CONFIGS, ENDPOINTS, MODELS

_IN_PROGRESS = ("Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting")
# Every instance is a process here. The quota can be set in the home's sagemaker.json.
_INSTANCE_LIMIT = 20


def create_endpoint(request: Record) -> Record:
    """Create an endpoint; it becomes InService, or Failed, in the background."""
    name, arn = request["EndpointName"], ENDPOINTS.arn(request["EndpointName"])
    tags.check(request.get("Tags", []))
    config = _snapshot(CONFIGS.get(request["EndpointConfigName"]))
    counts = {variant["VariantName"]: variant["InitialInstanceCount"] for variant in config["ProductionVariants"]}
    blue_green.plan(request.get("DeploymentConfig"), counts)
    _check_alarms(request.get("DeploymentConfig"))
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
    with context.current().store.lock:
        if ENDPOINTS.find(name) is not None:
            raise ENDPOINTS.taken(arn)
        _check_quota(config["ProductionVariants"][0]["InstanceType"], sum(counts.values()))
        ENDPOINTS.create(record)
    runtime.create(name)
    return {"EndpointArn": arn}


def update_endpoint(request: Record) -> Record:
    """Deploy another config, blue/green. In the end the endpoint is InService on the new config, or on the old one."""
    name = request["EndpointName"]
    record = ENDPOINTS.get(name)
    _check_idle(record)
    config = _snapshot(CONFIGS.get(request["EndpointConfigName"]))
    CONFIGS.get(record["EndpointConfigName"])  # AWS refuses when the config in service has been deleted
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
    counts = {variant["VariantName"]: variant["InitialInstanceCount"] for variant in config["ProductionVariants"]}
    plan = blue_green.plan(guardrails, counts)
    _check_alarms(guardrails)
    with context.current().store.lock:
        _check_idle(ENDPOINTS.get(name))
        _check_quota(config["ProductionVariants"][0]["InstanceType"], sum(counts.values()))
        changes: Record = {"EndpointStatus": "Updating", "LastModifiedTime": time.time()}
        if guardrails is not None:
            changes["LastDeploymentConfig"] = guardrails
        ENDPOINTS.update(name, changes)
    runtime.update(name, config, plan)
    return {"EndpointArn": record["EndpointArn"]}


def update_endpoint_weights_and_capacities(request: Record) -> Record:
    """Change weights and instance counts of variants in service; until it is done, the endpoint is Updating."""
    name = request["EndpointName"]
    desired = request["DesiredWeightsAndCapacities"]
    record = ENDPOINTS.get(name)
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
    with context.current().store.lock:
        _check_idle(ENDPOINTS.get(name))
        added = sum(
            max(0, item.get("DesiredInstanceCount", 0) - known[item["VariantName"]]["CurrentInstanceCount"])
            for item in desired
        )
        _check_quota(record["_config"]["ProductionVariants"][0]["InstanceType"], added)
        ENDPOINTS.update(name, {"EndpointStatus": "Updating", "LastModifiedTime": time.time()})
    runtime.rescale(name, desired)
    return {"EndpointArn": record["EndpointArn"]}


def delete_endpoint(request: Record) -> Record:
    """Delete an endpoint that is not in progress; its processes end before it is gone."""
    name = request["EndpointName"]
    with context.current().store.lock:
        _check_not_in_progress(ENDPOINTS.get(name))
        ENDPOINTS.update(name, {"EndpointStatus": "Deleting", "LastModifiedTime": time.time()})
    runtime.delete(name)
    return {}


def start() -> None:
    """Bring back the endpoints that were there when the cloud stopped."""
    runtime.start()


def stop() -> None:
    """End every instance; the records stay."""
    runtime.stop()


def _snapshot(config: Record) -> Record:
    """A config with its models resolved: what serves does not change when a model or config is deleted."""
    for variant in config["ProductionVariants"]:
        model = MODELS.get(variant["ModelName"])
        variant["_container"] = models.container(model)
        variant["_role"] = model["ExecutionRoleArn"]
    return config


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


def _check_alarms(guardrails: Record | None) -> None:
    names = [alarm["AlarmName"] for alarm in (guardrails or {}).get("AutoRollbackConfiguration", {}).get("Alarms", [])]
    if missing := sorted(set(names) - rollout.alarm_states(names).keys()):
        # AWS would roll nothing back on an alarm that is not there; whether it refuses, and how, was not seen.
        raise errors.validation(f"Could not find CloudWatch alarms: {', '.join(missing)}.")


def _check_quota(instance_type: str, added: int) -> None:
    limit = context.current().settings().get("endpoint_instances", _INSTANCE_LIMIT)
    used = sum(
        variant["InitialInstanceCount"]
        for record in ENDPOINTS.all()
        if record["EndpointStatus"] != "Failed"
        for variant in record["_config"]["ProductionVariants"]
    )
    if added and used + added > limit:
        raise errors.limit_exceeded(
            f"The account-level service limit '{instance_type} for endpoint usage' is {limit} Instances, with current "
            f"utilization of {used} Instances and a request delta of {added} Instances. Please use AWS Service Quotas "
            "to request an increase for this quota. If AWS Service Quotas is not available, contact AWS support to "
            "request an increase for this quota."
        )


OPERATIONS = {
    **configs.OPERATIONS,
    "CreateEndpoint": create_endpoint,
    "UpdateEndpoint": update_endpoint,
    "UpdateEndpointWeightsAndCapacities": update_endpoint_weights_and_capacities,
    "DescribeEndpoint": ENDPOINTS.describe,
    "ListEndpoints": ENDPOINTS.list,
    "DeleteEndpoint": delete_endpoint,
}
