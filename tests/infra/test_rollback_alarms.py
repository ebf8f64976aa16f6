"""Which versions the template's rollback alarms take out of service, and how soon; and who may write what they read.

A story is what came in each minute: requests, those that were broken off, and those that were refused.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

import pytest

from laptop.ministack_patches import alarm_evaluation, metric_math
from tests.infra import wiring
from tests.infra.policies import ROLES, many, resolve, statements

Minute = tuple[int, int, int]  # requests, broken off, refused
IDLE: Minute = (0, 0, 0)
WITHIN_MINUTES = 45  # docs/operations.md says so
HOURS = 10


def rollback_alarms() -> dict[str, wiring.JSON]:
    """Those that start a rollback, by logical id; with what CloudFormation would fill in."""
    rule = wiring.resources("AWS::Events::Rule")["RollbackAlarmRule"]
    names = [arn["Fn::GetAtt"][0] for arn in rule["EventPattern"]["resources"]]
    return {name: resolve(wiring.resources("AWS::CloudWatch::Alarm")[name]) for name in names}


def metrics(story: Iterable[Minute]) -> dict[str, list[wiring.JSON]]:
    """SageMaker's metrics, a point a minute that has requests. What is broken off is no 5xx."""
    points: dict[str, list[wiring.JSON]] = {
        name: [] for name in ("Invocations", "InvocationModelErrors", "Invocation4XXErrors", "Invocation5XXErrors")
    }
    for minute, (requests, broken, refused) in enumerate(story):
        if requests:
            values = (requests, broken + refused, refused, 0)
            for of_metric, value in zip(points.values(), values, strict=True):
                of_metric.append({"Timestamp": 60.0 * minute, "Value": value})
    return points


def rings(alarm: wiring.JSON, story: list[Minute], offset: int) -> Iterator[int]:
    """The minutes after which an alarm rings. `offset`: seconds between the begin of the story and of a period."""
    points = metrics(story)
    count = alarm_evaluation.evaluation_range(alarm)
    stats = metric_math.stats_of(alarm)
    for minute in range(1, len(story) + 1):
        period = stats[0]["Period"]
        # The newest period is not over; its end is in the time to come, where nothing is.
        end = -(-(60 * minute + offset) // period) * period - offset
        series = {}
        for stat in stats:
            seen = [one for one in points.get(stat["Metric"]["MetricName"], []) if one["Timestamp"] < 60 * minute]
            buckets = alarm_evaluation.buckets(seen, end - 1e-6, period, count)
            series[stat["Id"]] = [sum(one["Value"] for one in bucket) if bucket else None for bucket in buckets]
        if alarm.get("Metrics"):
            expression = metric_math.expression_of(alarm)
            rows = [dict(zip(series, row, strict=True)) for row in zip(*series.values(), strict=True)]
            values = [None if None in row.values() else metric_math.compute(expression, row) for row in rows]
        else:
            (values,) = series.values()
        if alarm_evaluation.evaluate(alarm, values, "OK") == "ALARM":
            yield minute


def first_ring(story: list[Minute], offset: int) -> int | None:
    found = (next(rings(alarm, story, offset), None) for alarm in rollback_alarms().values())
    return min((minute for minute in found if minute is not None), default=None)


def every(minutes: int, *busy: Minute) -> list[Minute]:
    """A story of `HOURS` that begins anew every so many minutes."""
    return list(itertools.islice(itertools.cycle([*busy, *[IDLE] * (minutes - len(busy))]), HOURS * 60))


@pytest.mark.parametrize("offset", [0, 60, 450, 840])
@pytest.mark.parametrize(
    ("story", "within"),
    [
        pytest.param(every(1, (10, 10, 0)), 3, id="each of ten a minute"),
        pytest.param(every(10, (50, 50, 0), (50, 50, 0)), WITHIN_MINUTES, id="each, in two busy minutes of ten"),
        pytest.param(every(1, (2, 2, 0)), WITHIN_MINUTES, id="each of two a minute"),
        pytest.param(every(1, (100, 20, 0)), WITHIN_MINUTES, id="a fifth: all TIFFs"),
        pytest.param(every(1, (100, 20, 60)), WITHIN_MINUTES, id="a fifth, among broken pictures"),
        pytest.param(every(15, (1, 1, 0)), WITHIN_MINUTES, id="each of one a quarter of an hour"),
        pytest.param(every(60, (20, 20, 0)), 2 * 60 + 1, id="each, in one minute of an hour"),
    ],
)
def test_a_version_that_dies_of_its_requests_is_taken_out(story: list[Minute], within: int, offset: int) -> None:
    minute = first_ring(story, offset)
    assert minute is not None
    assert minute <= within


HOUR = 60
GOOD: Minute = (100, 0, 0)


@pytest.mark.parametrize("offset", [0, 60, 450, 840])
@pytest.mark.parametrize(
    "story",
    [
        pytest.param([GOOD] * HOUR, id="nothing is broken off"),
        pytest.param([IDLE] * HOUR, id="nobody asks"),
        # 18: a fleet's instance holds its threads' requests, and eight that wait for each.
        pytest.param([GOOD, (100, 18, 0), *[GOOD] * HOUR] * 3, id="an instance is lost each hour"),
        pytest.param(([GOOD] * 13 + [(100, 18, 0)] + [GOOD]) * 8, id="an instance is lost each quarter"),
        pytest.param([(100, 100, 0)] * 2 + [GOOD] * HOUR, id="the only instance is lost for two minutes"),
        pytest.param([(2, 0, 0)] * 5 + [(2, 2, 0)] * 14 + [(2, 0, 0)] * HOUR, id="and for fourteen, where few ask"),
        pytest.param([(1, 1, 0), *[IDLE] * 14, *[(1, 0, 0), *[IDLE] * 14] * 20], id="one of one a quarter"),
        pytest.param([(100, 0, 90)] * HOUR * 3, id="a caller's pictures are broken"),
        pytest.param([(1, 0, 1)] * HOUR * 3, id="and nobody else asks"),
    ],
)
def test_a_good_version_stays(story: list[Minute], offset: int) -> None:
    assert first_ring(story, offset) is None


def read_groups(namespace: str, metric: str) -> set[str]:
    """The log groups of which a metric is made; none of one that somebody puts."""
    groups = wiring.resources("AWS::Logs::LogGroup")
    return {
        resolve(groups[made["LogGroupName"]["Ref"]]["LogGroupName"])
        for made in wiring.resources("AWS::Logs::MetricFilter").values()
        for one in made["MetricTransformations"]
        if (resolve(one["MetricNamespace"]), one["MetricName"]) == (namespace, metric)
    }


def allowed(action: str, resource: str, namespace: str = "") -> set[str]:
    """The roles that may do something to a resource, or to a metric's namespace."""
    return {
        role
        for role in ROLES
        for statement in statements(role)
        if action in statement["Action"]
        and any(fnmatchcase(resource, pattern) for pattern in statement["Resource"])
        and namespace in many(_namespaces(statement) or namespace)
    }


def _namespaces(statement: wiring.JSON) -> list[str]:
    conditions = statement.get("Condition", {})
    assert all(operator == "StringEquals" or "cloudwatch:namespace" not in of for operator, of in conditions.items())
    return conditions.get("StringEquals", {}).get("cloudwatch:namespace", [])


METRICS = sorted(
    {
        (stat["Metric"]["Namespace"], stat["Metric"]["MetricName"])
        for alarm in rollback_alarms().values()
        for stat in metric_math.stats_of(alarm)
    }
)


@pytest.mark.parametrize(("namespace", "metric"), METRICS)
def test_what_rollback_alarms_read_is_written_by_the_endpoint_alone(namespace: str, metric: str) -> None:
    """A job that may write it takes a champion out of service, or keeps a bad version in it.

    What SageMaker counts of requests it writes itself, with no role.
    """
    passed = wiring.machine("deploy")["States"]["CreateModel"]["Arguments"]["ExecutionRoleArn"]
    given = wiring.resources("AWS::Serverless::StateMachine")["DeployStateMachine"]["DefinitionSubstitutions"]
    (endpoint, _) = given[passed.removeprefix("${").removesuffix("}")]["Fn::GetAtt"]
    assert allowed("cloudwatch:PutMetricData", "*", namespace) == set()
    for group in read_groups(namespace, metric):
        stream = f"arn:aws:logs:us-east-1:123456789012:log-group:{group}:log-stream:primary/i-1"
        assert allowed("logs:PutLogEvents", stream) == {endpoint}


def test_the_metrics_of_rollback_alarms_are_those_of_requests_and_one_of_a_log() -> None:
    """Otherwise the test before looks at nothing."""
    assert {bool(read_groups(*metric)) for metric in METRICS} == {True, False}
    assert {namespace for namespace, metric in METRICS if not read_groups(namespace, metric)} == {"AWS/SageMaker"}


@pytest.mark.parametrize("role", ["TrainingRole", "EvaluationRole", "EndpointRole", "LabelingRole"])
def test_each_role_writes_logs_of_its_own(role: str) -> None:
    """Without any, a failed job says nothing."""
    others = {"TrainingJobs", "ProcessingJobs", "LabelingJobs", "Endpoints/skyloop-dev", "Endpoints/skyloop-dev2"}
    arn = "arn:aws:logs:us-east-1:123456789012:log-group:/aws/sagemaker/{}:log-stream:1"
    written = {group for group in others if role in allowed("logs:PutLogEvents", arn.format(group))}
    own = {"TrainingRole": "TrainingJobs", "EvaluationRole": "ProcessingJobs", "LabelingRole": "LabelingJobs"}
    assert written == {own.get(role, "Endpoints/skyloop-dev")}
