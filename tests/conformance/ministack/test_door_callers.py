"""Who a request is from: the one who signed it, for the door and for the policies behind it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from botocore.auth import HmacV1QueryAuth, S3SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from laptop.account import ACCOUNT_ID, REGION, Keys, client_settings, read_keys
from tests.conformance.conftest import Cloud
from tests.support.signed import SignedRequest


@pytest.fixture(scope="module")
def keys(cloud: Cloud) -> Keys:
    return read_keys(cloud.home)


@pytest.fixture(scope="module")
def bucket(cloud: Cloud) -> str:
    name = cloud.name("callers")
    cloud.client("s3").create_bucket(Bucket=name)
    cloud.client("s3").put_object(Bucket=name, Key="there", Body=b"content")
    return name


@pytest.fixture(scope="module")
def nobody(cloud: Cloud) -> Keys:
    """The keys of a user without a policy."""
    iam, name = cloud.client("iam"), cloud.name("nobody")
    iam.create_user(UserName=name)
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return Keys(key["AccessKeyId"], key["SecretAccessKey"])


def scoped(key: str) -> str:
    return f"{key}/20260101/{REGION}/s3/aws4_request"


def presigned(cloud: Cloud, path: str, keys: Keys, version: str = "s3v4") -> str:
    """A path that is signed in its query, with what else its query has."""
    request = AWSRequest("GET", f"{cloud.endpoint_url}{path}")
    credentials = Credentials(keys.access_key_id, keys.secret_access_key)
    if version == "s3v4":
        S3SigV4QueryAuth(credentials, "s3", REGION, expires=60).add_auth(request)
    else:
        HmacV1QueryAuth(credentials, expires=60).add_auth(request)
    return str(request.url).removeprefix(cloud.endpoint_url)


def confusing(cloud: Cloud, bucket: str, nobody: Keys, owner: str) -> list[SignedRequest]:
    """Requests that `nobody` signs well, and that name `owner` as well as themselves."""
    v4, small, v2 = {"X-Amz-Credential": scoped(owner)}, {"x-amz-credential": scoped(owner)}, {"AWSAccessKeyId": owner}
    path = f"/{bucket}/there"

    def get(path: str, **headers: str) -> SignedRequest:
        return SignedRequest(cloud.endpoint_url, path=path, headers=headers)

    signed = get(path).sign(nobody, "s3")
    fields = signed.headers["Authorization"].removeprefix("AWS4-HMAC-SHA256 ")
    plain = {version: presigned(cloud, path, nobody, version) for version in ("s3", "s3v4")}
    return [
        *(
            replace(signed, headers={**signed.headers, "Authorization": f"AWS4-HMAC-SHA256 {text}"})
            for text in (
                f"Credential={scoped(owner)}, {fields}",
                f"Credential={scoped(owner)} {fields}",
                f"XCredential={scoped(owner)}, {fields}",
                f"{fields}, Credential={scoped(owner)}",
                fields.replace("Credential=", f"Credential={owner}/,Credential="),
            )
        ),
        *(get(f"{path}?{urlencode(who)}").sign(nobody, "s3") for who in (v4, small, v2)),
        *(get(presigned(cloud, f"{path}?{urlencode(who)}", nobody)) for who in (v4, small, v2)),
        *(get(presigned(cloud, f"{path}?{urlencode(who)}", nobody, "s3")) for who in (v4, small, v2)),
        *(get(url.replace("?", f"?{urlencode(who)}&", 1)) for url in plain.values() for who in (v4, small, v2)),
        *(get(f"{url}&{urlencode(who)}") for url in plain.values() for who in (v4, small, v2)),
        *(
            get(url, Authorization=text)
            for url in plain.values()
            for text in (f"AWS {owner}:x", f"AWS4-HMAC-SHA256 Credential={scoped(owner)}, SignedHeaders=host")
        ),
    ]


@pytest.mark.parametrize("owner", ["the key", "the account", "test"])
def test_who_signed_is_who_is_judged(cloud: Cloud, keys: Keys, bucket: str, nobody: Keys, owner: str) -> None:
    """A role's session must not become the account by naming it beside itself: two readers, two answers."""
    named = {"the key": keys.access_key_id, "the account": ACCOUNT_ID}.get(owner, owner)
    for request in confusing(cloud, bucket, nobody, named):
        answer = request.send()
        assert answer.status in (400, 403), (request.path, request.headers, answer)
    for version in ("s3", "s3v4"):  # each way is good by itself, for who may
        path = presigned(cloud, f"/{bucket}/there", keys, version)
        assert SignedRequest(cloud.endpoint_url, path=path).send().body == b"content"


def test_admin_paths_are_for_the_keys_of_the_account(cloud: Cloud, keys: Keys, nobody: Keys) -> None:
    request = SignedRequest(cloud.endpoint_url, "POST", "/_skyloop/faults", b"{}")
    assert replace(request).sign(nobody).send().status == 403
    assert replace(request).sign(keys).send().status == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pages_of_other_origins_show_only_what_was_presigned(cloud: Cloud, keys: Keys, bucket: str, site: str) -> None:
    """A browser sends no Origin with a picture or a link, but says where it comes from."""
    sent = {"Sec-Fetch-Site": site}
    assert SignedRequest(cloud.endpoint_url, path="/_skyloop/health", headers=sent).send().status == 403
    path = presigned(cloud, f"/{bucket}/there", keys)
    assert SignedRequest(cloud.endpoint_url, path=path, headers=sent).send().status == 200
    typed = {"Sec-Fetch-Site": "none"}
    assert SignedRequest(cloud.endpoint_url, path="/_skyloop/health", headers=typed).send().status == 200


def test_a_session_needs_its_own_token(cloud: Cloud) -> None:
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = cloud.client("iam").create_role(RoleName=cloud.name("role"), AssumeRolePolicyDocument=document)["Role"]
    given = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    other = cloud.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="session")["Credentials"]
    session = Keys(given["AccessKeyId"], given["SecretAccessKey"])

    def asked(token: str | None) -> int:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = b"Action=GetCallerIdentity&Version=2011-06-15"
        request = SignedRequest(cloud.endpoint_url, "POST", "/", body, headers)
        return request.sign(session, "sts", token=token).send().status

    assert asked(given["SessionToken"]) == 200
    for token in (None, "wrong", given["SessionToken"][:-1], other["SessionToken"]):
        assert asked(token) == 403


def test_a_body_that_was_not_signed_is_not_kept(cloud: Cloud, keys: Keys, bucket: str) -> None:
    for body in (b"y", b"", b"xx"):
        digest = hashlib.sha256(b"x").hexdigest()
        request = SignedRequest(cloud.endpoint_url, "PUT", f"/{bucket}/new", b"x", {"x-amz-content-sha256": digest})
        assert replace(request.sign(keys, "s3"), body=body).send().status == 400
    assert [each["Key"] for each in cloud.client("s3").list_objects_v2(Bucket=bucket)["Contents"]] == ["there"]


QUERY = ("SignatureDoesNotMatch", "InvalidClientTokenId")
JSON = ("InvalidSignatureException", "UnrecognizedClientException")


@pytest.mark.parametrize(
    ("service", "method", "codes"),
    [
        ("s3", "list_buckets", ("SignatureDoesNotMatch", "InvalidAccessKeyId")),
        ("iam", "list_roles", QUERY),
        ("sts", "get_caller_identity", QUERY),
        ("sns", "list_topics", QUERY),
        ("cloudformation", "list_stacks", QUERY),
        ("sqs", "list_queues", JSON),
        ("dynamodb", "list_tables", JSON),
        ("lambda", "list_functions", JSON),
        ("stepfunctions", "list_state_machines", JSON),
        ("events", "list_rules", JSON),
        ("cloudwatch", "describe_alarms", JSON),
        ("logs", "describe_log_groups", JSON),
        ("sagemaker", "list_endpoints", JSON),
    ],
)
def test_clients_read_a_refusal_as_on_aws(
    cloud: Cloud, keys: Keys, service: str, method: str, codes: tuple[str, str]
) -> None:
    once = Config(retries={"total_max_attempts": 1})
    for wrong, code in zip((Keys(keys.access_key_id, "wrong"), Keys("AKIANOBODYSKEY", "wrong")), codes, strict=True):
        client: Any = boto3.client(service, config=once, **client_settings(cloud.endpoint_url, wrong))
        with pytest.raises(ClientError) as refused:
            getattr(client, method)()
        assert refused.value.response["Error"]["Code"] == code


def test_the_home_is_closed_to_other_users(cloud: Cloud, bucket: str) -> None:
    """The state has the keys of users, and the objects' content."""
    for folder in ("state", "s3", "tmp", "logs"):
        for path in (cloud.home / folder, *(cloud.home / folder).rglob("*")):
            assert path.stat().st_mode & 0o077 == 0, path
