"""Nobody may do what no policy allows: not one operation of a service that Skyloop uses."""

from __future__ import annotations

from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from laptop.account import client_settings, read_keys
from tests.conformance.conftest import Cloud
from tests.support.arguments import smallest

SERVICES = (
    *("application-autoscaling", "cloudformation", "cloudwatch", "dynamodb", "dynamodbstreams", "ecr", "events", "iam"),
    *("lambda", "logs", "s3", "sagemaker", "sagemaker-runtime", "scheduler", "sns", "sqs", "ssm", "stepfunctions"),
    *("sts", "kms", "secretsmanager", "apigateway", "bedrock-agentcore-control", "pipes", "sesv2"),
)
DENIED = {"AccessDeniedException"}  # of CloudWatch Logs and Systems Manager, whose status is 400
# Whoever has keys may ask whose they are, and for keys that end.
FREE = {"GetCallerIdentity", "GetSessionToken"}
# Two go to another host, two are not signed: the door refuses them.
NOT_SENT = {"ListDirectoryBuckets", "WriteGetObjectResponse", "AssumeRoleWithSAML", "AssumeRoleWithWebIdentity"}


@pytest.mark.parametrize("service", SERVICES)
def test_it_is_denied_without_a_policy(cloud: Cloud, caller: Any, service: str) -> None:
    settings = {**client_settings(cloud.endpoint_url, read_keys(cloud.home)), **caller(("none:None", "*"))}
    config = Config(
        retries={"total_max_attempts": 1},
        parameter_validation=False,
        inject_host_prefix=False,
        s3={"addressing_style": "path"},
    )
    client = boto3.client(service, config=config, **settings)
    bucket, asked = cloud.name("bucket"), 0
    cloud.client("s3").create_bucket(Bucket=bucket)  # that there is none, everybody may know
    for method, operation in client.meta.method_to_api_mapping.items():
        model = client.meta.service_model.operation_model(operation)
        if model.has_event_stream_input or operation in FREE | NOT_SENT:
            continue
        arguments = smallest(model)
        if "Bucket" in arguments:
            arguments["Bucket"] = bucket
        with pytest.raises(ClientError) as error:
            getattr(client, method)(**arguments)
        answer = error.value.response
        denied = answer["ResponseMetadata"]["HTTPStatusCode"] == 403 or answer["Error"]["Code"] in DENIED
        assert denied, (operation, answer)
        asked += 1
    assert asked > 0
