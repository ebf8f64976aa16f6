"""A request is judged by what is done, whatever else it says."""

from __future__ import annotations

import gzip
import json
import urllib.request
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from laptop.account import Keys, client_settings, read_keys
from tests.conformance.conftest import Cloud
from tests.support.signed import SignedRequest

JSON = "application/x-amz-json-1.0"
FORM = "application/x-www-form-urlencoded"


def send(
    cloud: Cloud, keys: dict[str, str], service: str, method: str, path: str, body: bytes, headers: dict[str, str]
) -> int:
    """The status of a request that no client would make."""
    signer = Keys(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    return SignedRequest(cloud.endpoint_url, method, path, body, headers).sign(signer, service).send().status


def test_members_that_an_operation_lacks_count_for_nothing(cloud: Cloud, caller: Any) -> None:
    table, other = cloud.name("table"), cloud.name("table")
    root = cloud.client("dynamodb")
    for name in (table, other):
        root.create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    mine = {"Condition": {"ForAllValues:StringLike": {"dynamodb:LeadingKeys": "drift#*"}}}
    keys = caller(("dynamodb:*", cloud.arn("dynamodb", f"table/{table}"), mine))

    def done(operation: str, request: dict[str, Any]) -> bool:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Content-Type": JSON}
        return send(cloud, keys, "dynamodb", "POST", "/", json.dumps(request).encode(), headers) == 200

    allowed, forbidden = ({"name": {"S": key}} for key in ("drift#x", "endpoint#x"))
    write = [{"PutRequest": {"Item": allowed}}]
    assert done("PutItem", {"TableName": table, "Item": allowed, "Key": forbidden, "Surprise": {"a": 1}})
    assert done("BatchWriteItem", {"RequestItems": {table: write}, "TableName": other})
    for operation, request in [
        ("PutItem", {"TableName": table, "Key": allowed, "Item": forbidden}),
        ("PutItem", {"TableName": table, "RequestItems": {table: write}, "Item": forbidden}),
        ("DeleteItem", {"TableName": table, "Key": forbidden, "Item": allowed}),
        ("TransactWriteItems", {"TransactItems": [{"Put": {"TableName": table, "Key": allowed, "Item": forbidden}}]}),
        ("BatchWriteItem", {"RequestItems": {table: [{"PutRequest": {"Key": allowed, "Item": forbidden}}]}}),
        ("BatchWriteItem", {"RequestItems": {other: write}, "TableName": table}),
    ]:
        assert not done(operation, request), (operation, request)
    assert [item["name"]["S"] for item in root.scan(TableName=table)["Items"]] == ["drift#x"]
    assert root.scan(TableName=other)["Items"] == []


def test_the_operation_that_is_done_is_the_one_that_is_judged(cloud: Cloud, caller: Any) -> None:
    bucket, table = cloud.name("bucket"), cloud.name("table")
    cloud.client("s3").create_bucket(Bucket=bucket)
    cloud.client("s3").put_object(Bucket=bucket, Key="k", Body=b"kept")
    keys = caller((["s3:GetObject", "lambda:ListFunctions", "dynamodb:ListTables"], "*"))
    create = {
        "TableName": table,
        "AttributeDefinitions": [{"AttributeName": "a", "AttributeType": "S"}],
        "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}],
        "BillingMode": "PAY_PER_REQUEST",
    }
    form = {"Content-Type": FORM}
    for service, path, body, headers in [
        ("s3", f"/{bucket}/k", b"lost", {"X-Amz-Target": "Any.GetObject"}),
        ("s3", f"/{bucket}/k?Action=GetObject", b"lost", {}),
        ("s3", f"/{bucket}/k", b"Action=GetObject", form),
        ("lambda", "/2015-03-31/functions?Action=ListFunctions", b"{}", {}),
        ("lambda", "/2015-03-31/functions", b"{}", {"X-Amz-Target": "Any.ListFunctions"}),
        (
            "dynamodb",
            "/?Action=ListTables",
            json.dumps(create).encode(),
            {"X-Amz-Target": "DynamoDB_20120810.CreateTable", "Content-Type": JSON},
        ),
    ]:
        method = "PUT" if service == "s3" else "POST"
        assert send(cloud, keys, service, method, path, body, headers) in (400, 403), (path, headers)
    assert cloud.client("s3").get_object(Bucket=bucket, Key="k")["Body"].read() == b"kept"
    assert table not in cloud.client("dynamodb").list_tables()["TableNames"]


def form(cloud: Cloud, keys: dict[str, str], service: str, query: dict[str, str], body: Any, **headers: str) -> int:
    """The status of a POST of the query protocol that has something in its query too."""
    path = f"/?{urlencode(query)}" if query else "/"
    return send(cloud, keys, service, "POST", path, urlencode(body).encode(), {"Content-Type": FORM, **headers})


def test_a_form_says_alone_what_is_done(cloud: Cloud, caller: Any) -> None:
    mine, alarm, topics = cloud.name("mine"), cloud.name("alarm"), [cloud.name("topic") for _ in range(2)]
    watch, root = cloud.client("cloudwatch"), cloud.client("sns")
    watch.put_metric_alarm(
        AlarmName=alarm,
        Namespace=cloud.name("other"),
        MetricName="m",
        Statistic="Sum",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1,
        ComparisonOperator="GreaterThanThreshold",
    )
    allowed, other = (root.create_topic(Name=name)["TopicArn"] for name in topics)
    namespace = {"Condition": {"StringEquals": {"cloudwatch:namespace": mine}}}
    keys = caller(("cloudwatch:PutMetricData", "*", namespace), ("sns:Publish", allowed), ("iam:GetRole", "*"))
    metric = {"MetricData.member.1.MetricName": "m", "MetricData.member.1.Value": "1"}
    put = {"Action": "PutMetricData", "Namespace": cloud.name("other"), **metric}
    state = {"Action": "SetAlarmState", "AlarmName": alarm, "StateValue": "ALARM", "StateReason": "x"}
    user = {"Action": "CreateUser", "UserName": cloud.name("user")}
    assert form(cloud, keys, "monitoring", {}, {**put, "Namespace": mine}) == 200
    assert form(cloud, keys, "sns", {}, {"Action": "Publish", "TopicArn": allowed, "Message": "m"}) == 200
    both = [*put.items(), ("Namespace", mine)]
    for service, query, body, headers in [
        ("monitoring", {"Namespace": mine}, put, {}),
        ("monitoring", {}, both, {}),
        ("monitoring", {"Action": "PutMetricData", "Namespace": mine}, state, {}),
        ("monitoring", {}, state, {"X-Amz-Target": "GraniteServiceVersion20100801.PutMetricData"}),
        ("sns", {"Action": "Publish", "TopicArn": allowed}, {"Action": "DeleteTopic", "TopicArn": other}, {}),
        ("sns", {"TopicArn": allowed}, {"Action": "Publish", "TopicArn": other, "Message": "m"}, {}),
        ("iam", {"Action": "GetRole", "RoleName": "r"}, user, {}),
        ("iam", {"Action": "GetRole", "RoleName": "r"}, user, {"Content-Type": "text/plain"}),
        ("iam", {}, user, {"X-Amz-Target": "AWSIAM.GetRole"}),
        ("iam", {}, [("Action", "GetRole"), *user.items()], {}),
        ("iam", {}, user, {"X-Amz-Target": "AWSIAM.GetRole", "Content-Type": JSON}),
    ]:
        assert form(cloud, keys, service, query, body, **headers) in (400, 403), (service, query, body)
    assert watch.describe_alarms(AlarmNames=[alarm])["MetricAlarms"][0]["StateValue"] != "ALARM"
    assert not watch.list_metrics(Namespace=put["Namespace"])["Metrics"]
    assert root.get_topic_attributes(TopicArn=other)
    with pytest.raises(ClientError, match="NoSuchEntity"):
        cloud.client("iam").get_user(UserName=user["UserName"])


def test_json_says_each_thing_once(cloud: Cloud, caller: Any) -> None:
    tables = [cloud.name("table") for _ in range(2)]
    for name in tables:
        cloud.client("dynamodb").create_table(
            TableName=name,
            AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
            KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
            BillingMode="PAY_PER_REQUEST",
        )
    keys = caller(("dynamodb:PutItem", cloud.arn("dynamodb", f"table/{tables[0]}")))
    headers = {"X-Amz-Target": "DynamoDB_20120810.PutItem", "Content-Type": JSON}
    item = '"Item": {"name": {"S": "a"}}'
    for first, second in (tables, reversed(tables)):
        body = f'{{"TableName": "{first}", {item}, "TableName": "{second}"}}'.encode()
        assert send(cloud, keys, "dynamodb", "POST", "/", body, headers) == 400
    packed = gzip.compress(json.dumps({"TableName": tables[1], "Item": {"name": {"S": "a"}}}).encode())
    assert send(cloud, keys, "dynamodb", "POST", "/", packed, {**headers, "Content-Encoding": "gzip"}) in (400, 403)
    assert not cloud.client("dynamodb").scan(TableName=tables[1])["Items"]


def test_a_table_is_judged_as_it_is_found(cloud: Cloud, caller: Any) -> None:
    table = cloud.name("table")
    cloud.client("dynamodb").create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": "name", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "name", "KeyType": "HASH"}],
        BillingMode="PAY_PER_REQUEST",
    )
    arn = cloud.arn("dynamodb", f"table/{table}")
    key = {"name": {"S": "a"}}
    mine = cloud.client("dynamodb", **caller(("dynamodb:PutItem", f"{arn}/index/*")))
    with pytest.raises(ClientError, match="AccessDenied"):
        mine.put_item(TableName=f"{arn}/index/x", Item=key)
    cloud.client("dynamodb", **caller(("dynamodb:PutItem", arn))).put_item(TableName=arn, Item=key)


def test_a_group_of_logs_is_named_once(cloud: Cloud, caller: Any) -> None:
    names = [cloud.name("group") for _ in range(2)]
    for name in names:
        cloud.client("logs").create_log_group(logGroupName=name)
    allowed = caller(("logs:StartQuery", cloud.arn("logs", f"log-group:{names[0]}*")))
    logs = cloud.client("logs", **allowed)
    query = {"startTime": 0, "endTime": 1, "queryString": "fields @message"}
    assert logs.start_query(logGroupName=names[0], **query)["queryId"]
    for member in ("logGroupNames", "logGroupIdentifiers"):
        with pytest.raises(ClientError, match="InvalidParameter"):
            logs.start_query(logGroupName=names[0], **{member: names[1:]}, **query)


def test_the_url_of_a_queue_is_read_in_one_way(cloud: Cloud, caller: Any) -> None:
    sqs, names = cloud.client("sqs"), [cloud.name("queue") for _ in range(2)]
    allowed, other = (sqs.create_queue(QueueName=name)["QueueUrl"] for name in names)
    keys = caller(("sqs:SendMessage", cloud.arn("sqs", names[0])))
    headers = {"X-Amz-Target": "AmazonSQS.SendMessage", "Content-Type": JSON}

    def sent(url: str, path: str = "/") -> int:
        body = json.dumps({"QueueUrl": url, "MessageBody": "m"}).encode()
        return send(cloud, keys, "sqs", "POST", path, body, headers)

    assert sent(allowed) == sent(names[0]) == sent(allowed, urlsplit(allowed).path) == 200
    for url in (f"{other}#/{names[0]}", f"{other}?x=/{names[0]}", f"{other};/{names[0]}", f"{other}/"):
        assert sent(url) == 400, url
    assert sent(allowed, urlsplit(other).path) == 400
    message = {"Action": "SendMessage", "MessageBody": "m"}
    assert form(cloud, keys, "sqs", {"QueueUrl": allowed}, {**message, "QueueUrl": other}) == 400
    delete = {"Action": "DeleteQueue", "QueueUrl": other}
    assert form(cloud, keys, "sqs", {"Action": "SendMessage", "QueueUrl": allowed}, delete) == 400
    left = sqs.get_queue_attributes(QueueUrl=other, AttributeNames=["ApproximateNumberOfMessages"])["Attributes"]
    assert left == {"ApproximateNumberOfMessages": "0"}


def test_a_request_is_for_the_service_that_it_was_signed_for(cloud: Cloud, caller: Any) -> None:
    bucket, user = cloud.name("bucket"), cloud.name("user")
    cloud.client("s3").create_bucket(Bucket=bucket)
    keys = caller(("*", "*"))
    listed = {"X-Amz-Target": "DynamoDB_20120810.ListTables", "Content-Type": JSON}
    assert send(cloud, keys, "dynamodb", "POST", "/", b"{}", listed) == 200
    assert send(cloud, keys, "sqs", "POST", "/", b"{}", listed) == 403
    assert send(cloud, keys, "s3", "PUT", f"/{bucket}/key", b"kept", listed) == 200
    assert cloud.client("s3").get_object(Bucket=bucket, Key="key")["Body"].read() == b"kept"
    assert form(cloud, keys, "sts", {}, {"Action": "CreateUser", "UserName": user}) in (400, 403)
    clusters = cloud.client("s3").generate_presigned_url("get_object", Params={"Bucket": "clusters", "Key": "k"})
    with pytest.raises(urllib.error.HTTPError) as error:  # a bucket that is not there, and no cluster
        urllib.request.urlopen(clusters)
    assert b"NoSuchBucket" in error.value.read()


def test_a_signed_url_may_have_parameters_that_count_for_nothing(cloud: Cloud) -> None:
    bucket = cloud.name("bucket")
    settings = client_settings(cloud.endpoint_url.replace("127.0.0.1", "s3.localhost"), read_keys(cloud.home))
    for style in ("path", "virtual"):
        s3 = boto3.client("s3", config=Config(signature_version="s3v4", s3={"addressing_style": style}), **settings)
        if style == "path":
            cloud.client("s3").create_bucket(Bucket=bucket)
            cloud.client("s3").put_object(Bucket=bucket, Key="a b/ü", Body=b"kept")
        s3.meta.events.register(
            "before-sign.s3", lambda request, **_: request.params.update({"x-id": "GetObject", "who": "me"})
        )
        url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b/ü"})
        assert "who=me" in url
        assert (f"//{bucket}.s3.localhost" in url) == (style == "virtual")
        address = urlsplit(url)
        asked = urllib.request.Request(url.replace(address.netloc, f"127.0.0.1:{address.port}"))
        asked.add_header("Host", address.netloc)  # names below localhost are not known everywhere
        assert urllib.request.urlopen(asked).read() == b"kept"


@pytest.mark.parametrize("who", ["account", "key"])
def test_a_trailer_has_checksums_only(cloud: Cloud, caller: Any, who: str) -> None:
    bucket, root = cloud.name("bucket"), cloud.client("s3")
    root.create_bucket(Bucket=bucket)
    root.put_object(Bucket=bucket, Key="secret", Body=b"secret")

    def upload(client: Any, key: str, name: str, value: str) -> int:
        url = client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": key})
        body = f"2\r\nhi\r\n0\r\n{name}: {value}\r\n\r\n".encode()
        path = url.removeprefix(cloud.endpoint_url)
        return SignedRequest(cloud.endpoint_url, "PUT", path, body, {"Content-Encoding": "aws-chunked"}).send().status

    def client(**keys: str) -> Any:
        settings = {**client_settings(cloud.endpoint_url, read_keys(cloud.home)), **keys}
        return boto3.client("s3", config=Config(signature_version="s3v4"), **settings)

    signer = cloud.account if who == "account" else read_keys(cloud.home).access_key_id
    other = f"AWS4-HMAC-SHA256 Credential={signer}/20260101/{cloud.region}/s3/aws4_request, SignedHeaders=host"
    assert upload(client(**caller(("none:None", "*"))), "evil", "authorization", other) == 403
    assert upload(client(), "copy", "x-amz-copy-source", f"{bucket}/secret") == 200
    assert root.get_object(Bucket=bucket, Key="copy")["Body"].read() == b"hi"
    assert upload(client(), "checked", "x-amz-checksum-crc32", "2JMqrA==") == 200
    assert upload(client(), "wrong", "x-amz-checksum-crc32", "AAAAAA==") == 400
    assert {each["Key"] for each in root.list_objects_v2(Bucket=bucket)["Contents"]} == {"secret", "copy", "checked"}


def test_a_key_is_judged_as_it_is_written(cloud: Cloud, caller: Any) -> None:
    bucket, root = cloud.name("bucket"), cloud.client("s3")
    root.create_bucket(Bucket=bucket)
    for key in ("a/b", "a//b", "/a/b", "c/", "kept"):
        root.put_object(Bucket=bucket, Key=key, Body=key.encode())
    arn = f"arn:aws:s3:::{bucket}"
    mine = caller((["s3:*"], [f"{arn}/a/b", f"{arn}/c/"]))
    s3 = cloud.client("s3", **mine)
    for key in ("a/b", "c/"):
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    for key in ("a//b", "/a/b"):
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.get_object(Bucket=bucket, Key=key)
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.copy_object(Bucket=bucket, Key="a/b", CopySource={"Bucket": bucket, "Key": key})
    two_keys = b"<Delete><Object><Key>a/b</Key><Key>kept</Key></Object></Delete>"
    for body in (
        two_keys,
        two_keys.replace(b"<Key>kept", b'<Key xmlns="http://s3.amazonaws.com/doc/2006-03-01/">kept'),
    ):
        assert send(cloud, mine, "s3", "POST", f"/{bucket}?delete", body, {}) == 400
    assert root.get_object(Bucket=bucket, Key="kept")


def test_an_operation_of_s3_is_not_taken_for_another(cloud: Cloud, caller: Any) -> None:
    bucket, made = cloud.name("bucket"), cloud.name("bucket")
    cloud.client("s3").create_bucket(Bucket=bucket)
    keys = caller((["s3:PutMetricsConfiguration", "s3:GetMetricsConfiguration", "s3:GetBucketRequestPayment"], "*"))
    for method, path, status in [
        ("DELETE", f"/{bucket}?metrics&id=x", 501),  # MiniStack deletes the bucket,
        ("DELETE", f"/{bucket}?metrics", 400),
        ("PUT", f"/{made}?metrics&id=x", 501),  # makes one,
        ("GET", f"/{bucket}?metrics&id=x", 501),  # and lists one
        ("GET", f"/{bucket}?requestPayment", 501),
        ("DELETE", f"/{bucket}?inventory&id=x", 403),
        ("PUT", f"/{bucket}/key?tagging&acl", 400),
    ]:
        assert send(cloud, keys, "s3", method, path, b"", {}) == status, (method, path)
    names = [each["Name"] for each in cloud.client("s3").list_buckets()["Buckets"]]
    assert bucket in names
    assert made not in names


def test_numbers_of_s3_that_are_none_are_the_callers_fault(cloud: Cloud) -> None:
    bucket, root = cloud.name("bucket"), read_keys(cloud.home)
    cloud.client("s3").create_bucket(Bucket=bucket)
    keys = {"aws_access_key_id": root.access_key_id, "aws_secret_access_key": root.secret_access_key}
    for query in ("max-keys=abc", "list-type=2&max-keys=-1", "versions&max-keys=x", "uploads&max-uploads=x"):
        assert send(cloud, keys, "s3", "GET", f"/{bucket}?{query}", b"", {}) == 400, query
    assert send(cloud, keys, "s3", "GET", "/?max-buckets=x", b"", {}) == 400


def test_a_member_does_not_lead_to_a_service_that_nobody_judges(cloud: Cloud, caller: Any) -> None:
    name = cloud.name("cluster")
    keys = caller(("none:None", "*"))
    made = {"Action": "CreateDBCluster", "DBClusterIdentifier": name, "Engine": "docdb"}  # MiniStack's DocumentDB
    assert form(cloud, keys, "rds", {}, {**made, "MasterUsername": "u", "MasterUserPassword": "12345678"}) == 403
    assert name not in [
        each["DBClusterIdentifier"] for each in cloud.client("docdb").describe_db_clusters()["DBClusters"]
    ]


@pytest.mark.parametrize(
    ("service", "method", "path", "host"),
    [
        ("lambda", "POST", "/2021-10-31/functions/{}/response-streaming-invocations", ""),
        ("lambda", "POST", "//2015-03-31/functions/{}/invocations", ""),
        ("lambda", "GET", "/2015-03-31/functions/{}%252Fpolicy", ""),
        ("lambda", "DELETE", "/2015-03-31/none/functions/{}", ""),
        ("lambda", "GET", "/", "x.lambda-url.us-east-1.localhost"),
        ("execute-api", "GET", "/stage", "x.execute-api.localhost"),
        ("cognito-idp", "GET", "/oauth2/userInfo", ""),
        ("cognito-idp", "POST", "/oauth2/token", ""),
        ("s3", "GET", "/v20180820/configuration", ""),
        ("s3", "GET", "/iceberg/v1/config", ""),
        ("ecr", "GET", "/v2/", ""),
        ("bedrock-agentcore", "POST", "/runtimes/", ""),
        ("apigateway", "GET", "/restapis", ""),
        ("none", "GET", "/", ""),
    ],
)
def test_a_path_that_no_operation_has_is_denied(
    cloud: Cloud, caller: Any, function: Any, service: str, method: str, path: str, host: str
) -> None:
    keys = caller((["ecr:*", "lambda:GetFunction"], "*"))
    named = path.format(function("def handler(event, context):\n    return 'ran'").rpartition(":")[2])
    signer = Keys(keys["aws_access_key_id"], keys["aws_secret_access_key"])
    headers = {"Host": f"{host}:{urlsplit(cloud.endpoint_url).port}"} if host else {}
    request = SignedRequest(cloud.endpoint_url, method, named, b"", headers)
    if host:  # the signature covers the host
        request.endpoint_url = f"http://{headers['Host']}"
    request.sign(signer, service)
    request.endpoint_url = cloud.endpoint_url
    assert request.send().status == (404 if service == "s3" else 403)  # a bucket that is not there
