"""What retrain's JSONata makes of sample inputs is what the services take and what people read."""

from __future__ import annotations

import re
from typing import Any

import pytest
from skyloop.documents import MAX_EPOCHS, WEIGHTS
from skyloop.layout import BASE_WEIGHTS, MODEL_ARTIFACTS, ModelArtifacts, may_train_from

from tests.infra import wiring
from tests.infra.expressions import accepted, run, state, which
from tests.infra.samples import CHAMPION, DATASET, JOB, SAGEMAKER_REASONS, VARIABLES


def train(champion: wiring.JSON, **settings: str) -> wiring.JSON:
    """The arguments of the training job."""
    variables = {**VARIABLES["retrain"], "champion": champion}
    variables["training"] = run(state("retrain", "PlanTraining", **settings)["Assign"]["training"], variables)
    arguments = run(state("retrain", "Train", **settings)["Arguments"], variables)
    accepted("sagemaker", "CreateTrainingJob", arguments)
    return arguments


def channels(arguments: wiring.JSON) -> dict[str, tuple[str, str]]:
    found = {}
    for channel in arguments["InputDataConfig"]:
        source = channel["DataSource"]["S3DataSource"]
        found[channel["ChannelName"]] = (source["S3DataType"], source["S3Uri"])
    return found


SPLITS = {
    "train": ("ManifestFile", DATASET["train_manifest_uri"]),
    "validation": ("ManifestFile", DATASET["validation_manifest_uri"]),
}


def test_first_training_takes_weights_by_name() -> None:
    arguments = train({})
    assert channels(arguments) == SPLITS
    assert arguments["HyperParameters"] == {
        "epochs": "100",
        "imgsz": "640",
        "slice_size": "0",
        "max_slices": "12",
        "radiometric_window": "",
        "batch": "16",
        "freeze": "0",
        "seed": "0",
        "categories": '["tree"]',
        "dataset_id": "ds-0123456789ab",
        "correlation_id": "flight-7",
        "weights": "yolo11n.pt",
    }
    assert arguments["Environment"] == {"SKYLOOP_CORRELATION_ID": "flight-7", "SKYLOOP_MAX_RUNTIME_SECONDS": "3600"}
    assert arguments["StoppingCondition"]["MaxRuntimeInSeconds"] == 3600


def test_the_image_that_serves_is_the_one_that_is_judged_with() -> None:
    registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com"
    uris = {"TrainingImageUri": f"{registry}/trains:1", "ServingImageUri": f"{registry}/serves:1"}
    assert train({}, **uris)["AlgorithmSpecification"]["TrainingImage"] == uris["TrainingImageUri"]
    judged = run(state("retrain", "Evaluate", **uris)["Arguments"], VARIABLES["retrain"])
    assert judged["AppSpecification"]["ImageUri"] == uris["ServingImageUri"]
    package = run(state("retrain", "RegisterPackage", **uris)["Arguments"], VARIABLES["retrain"])
    [container] = package["InferenceSpecification"]["Containers"]
    assert container["Image"] == uris["ServingImageUri"]


def test_several_machines_train_together() -> None:
    assert train({}, TrainingInstanceCount="3")["ResourceConfig"]["InstanceCount"] == 3


def test_instances_are_kept_with_their_slices_if_asked_for_and_spot_ones_cannot_be() -> None:
    assert "KeepAlivePeriodInSeconds" not in train({})["ResourceConfig"]
    assert train({}, TrainingKeepAliveSeconds="900")["ResourceConfig"]["KeepAlivePeriodInSeconds"] == 900
    for spot, kept, said in (("true", "900", "needs UseSpot=false"), ("true", "0", ""), ("false", "900", "")):
        read = state("retrain", "ReadRequest", UseSpot=spot, TrainingKeepAliveSeconds=kept)["Assign"]
        unfit = run(read["unfit"], VARIABLES["retrain"])
        assert (said in unfit) if said else (unfit == "")


def test_first_training_takes_weights_from_s3_as_a_channel() -> None:
    arguments = train({}, BaseWeights="s3://elsewhere/base/yolo11n_coco.pt")
    assert channels(arguments) == {**SPLITS, "weights": ("S3Prefix", "s3://elsewhere/base/yolo11n_coco.pt")}
    assert "weights" not in arguments["HyperParameters"]


@pytest.mark.parametrize("weights", ["yolo11n.pt", "s3://elsewhere/base/yolo11n_coco.pt"])
def test_later_training_starts_from_the_champion_whatever_the_base_weights(weights: str) -> None:
    arguments = train(CHAMPION, BaseWeights=weights)
    assert channels(arguments) == {**SPLITS, "model": ("S3Prefix", CHAMPION["model_uri"])}
    assert "weights" not in arguments["HyperParameters"]


def test_on_demand_training_does_not_wait_for_spot() -> None:
    arguments = train({})
    assert arguments["EnableManagedSpotTraining"] is False
    assert arguments["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600}


def test_spot_training_waits_as_long_again() -> None:
    arguments = train({}, UseSpot="true")
    assert arguments["EnableManagedSpotTraining"] is True
    assert arguments["StoppingCondition"] == {"MaxRuntimeInSeconds": 3600, "MaxWaitTimeInSeconds": 7200}


@pytest.mark.parametrize("spot", ["true", "false"])
def test_training_keeps_its_checkpoints(spot: str) -> None:
    """Without spot instances too: a machine may be lost, and a training may be stopped at its time limit."""
    assert train({}, UseSpot=spot)["CheckpointConfig"] == {
        "S3Uri": f"s3://data/model-artifacts/{JOB}/checkpoints/",
        "LocalPath": "/opt/ml/checkpoints",
    }


def test_training_reports_to_mlflow_when_there_is_a_server() -> None:
    environment = train({}, MlflowTrackingUri="https://mlflow.example.org")["Environment"]
    assert environment["MLFLOW_TRACKING_URI"] == "https://mlflow.example.org"


@pytest.mark.parametrize("champion", [{}, CHAMPION])
def test_evaluation_gets_the_champion_when_there_is_one(champion: wiring.JSON) -> None:
    variables = {**VARIABLES["retrain"], "champion": champion}
    arguments = run(state("retrain", "Evaluate")["Arguments"], variables)
    accepted("sagemaker", "CreateProcessingJob", arguments)
    inputs = {item["InputName"]: item["S3Input"] for item in arguments["ProcessingInputs"]}
    assert set(inputs) == {"candidate", "test", "reference"} | ({"champion"} if champion else set())
    assert all(item["LocalPath"] == f"/opt/ml/processing/input/{name}" for name, item in inputs.items())
    # The reference of the drift baseline is not what the candidate is judged by.
    assert inputs["test"]["S3Uri"] == DATASET["test_manifest_uri"]
    assert inputs["reference"]["S3Uri"] == DATASET["validation_manifest_uri"]
    assert arguments["Environment"]["SKYLOOP_CATEGORIES"] == '["tree"]'


def test_too_few_labels_are_counted_as_they_are_kept() -> None:
    alert = run(state("retrain", "DatasetInsufficient")["Assign"]["alert"], VARIABLES["retrain"])
    assert alert["kept"].startswith("8 images with 49 boxes were added")


@pytest.mark.parametrize(
    ("tags", "correlation"),
    [([], JOB), ([{"Key": "Project", "Value": "x"}, {"Key": "CorrelationId", "Value": "f"}], "f")],
)
def test_labels_are_found_by_their_uri_and_carry_the_batch(tags: list[Any], correlation: str) -> None:
    assign = state("retrain", "DescribeLabelingJob")["Assign"]
    result = {
        "LabelingJobStatus": "Completed",
        "LabelAttributeName": "boxes",
        "LabelingJobOutput": {"OutputDatasetS3Uri": "s3://data/ground-truth-jobs/j/manifests/output/output.manifest"},
        "Tags": tags,
    }
    variables = {"labeling_job": JOB}
    labels = run(assign["labels"], variables, result=result)
    assert labels["uri"] == "s3://data/ground-truth-jobs/j/manifests/output/output.manifest"
    assert run(assign["correlation_id"], variables, result=result) == correlation


def test_labels_of_a_failed_job_have_a_reason_and_no_place() -> None:
    result = {"LabelingJobStatus": "Failed", "FailureReason": "no workers"}
    labels = run(state("retrain", "DescribeLabelingJob")["Assign"]["labels"], {"labeling_job": JOB}, result=result)
    assert (labels["status"], labels["failure"], labels["uri"]) == ("Failed", "no workers", "")


@pytest.mark.parametrize(
    ("counters", "parts"),
    [
        ({}, 1),
        ({"TotalLabeled": 40}, 1),
        ({"TotalLabeled": 40, "FailedNonRetryableError": 1}, 2),
        ({"TotalLabeled": 90, "Unlabeled": 31, "HumanLabeled": 90}, 4),
        ({"TotalLabeled": 1_000_000}, 5000),
    ],
)
def test_a_manifest_is_converted_in_parts_of_some_forty_lines(counters: dict[str, int], parts: int) -> None:
    result = {"LabelingJobStatus": "Completed", "LabelAttributeName": "boxes", "LabelCounters": counters}
    labels = run(state("retrain", "DescribeLabelingJob")["Assign"]["labels"], {"labeling_job": JOB}, result=result)
    assert labels["parts"] == parts
    assert run(state("retrain", "ConvertLabels")["Items"], {"labels": labels}) == list(range(parts))


def test_artifacts_lie_where_the_layout_says() -> None:
    root = run(state("retrain", "Begin")["Assign"]["artifacts"])
    variables = {"labeling_job": JOB, "training_job": JOB, "artifacts": root}
    artifacts = run(state("retrain", "PlaceArtifacts")["Assign"]["artifacts"], variables)
    layout = ModelArtifacts(JOB)
    keys = {
        "root": MODEL_ARTIFACTS,
        "checkpoints": layout.checkpoints,
        "evaluation": layout.evaluation.rpartition("/")[0],
        "metrics": layout.evaluation,
        "report": layout.report,
        "baseline": layout.baseline,
        "golden_predictions": layout.golden_predictions,
    }
    assert artifacts == {name: f"s3://data/{key}" for name, key in keys.items()}
    assert artifacts == VARIABLES["retrain"]["artifacts"]


def test_paths_of_artifacts_are_spelled_once() -> None:
    texts = [text for text in wiring.strings(wiring.machine("retrain")) if "model-artifacts" in text]
    assert texts == [wiring.machine("retrain")["States"]["Begin"]["Assign"]["artifacts"]["root"]]
    assert texts[0].count("model-artifacts") == 1


@pytest.mark.parametrize(
    ("job", "goes"),
    [
        ({"TrainingJobStatus": "Completed", "ModelArtifacts": {"S3ModelArtifacts": "s3://data/m"}}, "Evaluate"),
        ({"TrainingJobStatus": "InProgress"}, "WaitForTraining"),
        ({"TrainingJobStatus": "Failed", "FailureReason": "out of memory"}, "TrainingEnded"),
        ({"TrainingJobStatus": "Stopped"}, "TrainingEnded"),
    ],
)
def test_a_training_that_exists_already_is_used(job: wiring.JSON, goes: str) -> None:
    assert which("retrain", "CheckTraining", {"job": job}) == goes


def test_only_who_asks_gets_another_attempt() -> None:
    """The event's training keeps the first name: no second event makes another, and none takes an asking's."""
    begin = state("retrain", "Begin")["Assign"]
    variables = {**VARIABLES["retrain"], "refusal": "", "unfit": ""}
    assert run(begin["training_job"], input={"labeling_job_name": JOB}) == JOB
    for given, following in (({}, "PlaceArtifacts"), ({"training": {}}, "ReadAttempt")):
        again = run(begin["again"], input={"labeling_job_name": JOB, **given})
        assert which("retrain", "CheckRequest", {**variables, "again": again}) == following


def test_a_training_that_was_lost_needs_no_second_dataset() -> None:
    assert which("retrain", "CheckLost", {"lost": 0}) == "DescribeLabelingJob"
    assert which("retrain", "CheckLost", {"lost": 1}) == "FindChampion"


def test_an_attempt_is_as_it_was_asked_for() -> None:
    asked = {"epochs": 7, "start_from": "weights", "base_weights": "s3://elsewhere/base.pt"}
    variables = {**VARIABLES["retrain"], "champion": CHAMPION, "asked": asked}
    training = run(state("retrain", "PlanTraining")["Assign"]["training"], variables)
    assert training["hyperparameters"]["epochs"] == "7"
    assert [channel["ChannelName"] for channel in training["channels"]] == ["train", "validation", "weights"]
    assert training["base_model"] == "s3://elsewhere/base.pt"


WEIGHTS_ASKED_FOR = {
    "yolo11n.pt": "",
    "s3://data/model-artifacts/base-weights/0123456789abcdef/a b.pt": "",
    "s3://weights/yolo11n.pt": "",
    "s3://weights/yolo11s.pt": "may read",
    "s3://elsewhere/base.pt": "may read",
    "s3://data/raw-images/base.pt": "may read",
    "s3://data/model-artifacts-of-others/base.pt": "may read",
    f"s3://data/model-artifacts/{'k' * 200}.pt": "base_weights must be",
    "s3://data/model-artifacts/a'b.pt": "base_weights must be",
    "s3://data/model-artifacts/job/output/model.tar.gz": "base_weights must be",
    "": "base_weights must be",
    "a/b.pt": "base_weights must be",
}


def refusal(**training: Any) -> str:
    read = state("retrain", "ReadRequest", BaseWeights="s3://weights/yolo11n.pt")["Assign"]
    return str(run(read["refusal"], {**VARIABLES["retrain"], "asked": training}))


@pytest.mark.parametrize(("weights", "why"), WEIGHTS_ASKED_FOR.items())
def test_weights_that_training_may_not_read_or_a_package_not_name_are_refused_at_once(weights: str, why: str) -> None:
    """By the machine as by the command line, before a training that would fail, or its registration."""
    said = refusal(base_weights=weights)
    assert (why in said) if why else (said == "")
    taken = re.fullmatch(WEIGHTS, weights) and may_train_from(weights, "data", "s3://weights/yolo11n.pt")
    assert bool(taken) == (why == "")


@pytest.mark.parametrize(
    ("epochs", "taken"),
    [(1, True), (MAX_EPOCHS, True), (MAX_EPOCHS + 1, False), (0, False), (1.5, False), ("x", False)],
)
def test_epochs_that_no_container_takes_are_refused_at_once(epochs: Any, taken: bool) -> None:
    assert (refusal(epochs=epochs) == "") == taken


def test_a_refused_request_says_what_to_run_and_a_good_one_goes_on() -> None:
    assert refusal() == refusal(start_from="scratch") == ""
    assert which("retrain", "CheckRequest", {"refusal": "", "unfit": "", "again": False}) == "PlaceArtifacts"
    assert which("retrain", "CheckRequest", {"refusal": "no"}) == "DescribeFailure"
    variables = {**VARIABLES["retrain"], "failed": "CheckRequest", "error": {"Error": "RequestRefused", "Cause": "no"}}
    alert = run(state("retrain", "DescribeFailure")["Assign"]["alert"], variables)
    assert f"s3://data/{BASE_WEIGHTS}" in alert["next_step"]
    assert f"`skyloop retrain {JOB} --base-weights" in alert["next_step"]


@pytest.mark.parametrize(
    ("window", "taken"),
    [("", True), ("0-1", True), ("20000-24000", True), ("0-65535", True), ("9-10", True)]
    + [(window, False) for window in ("24000-20000", "5-5", "0-65536", "10-9")],
)
def test_a_window_that_no_container_takes_is_refused_at_once(window: str, taken: bool) -> None:
    assert (run(state("retrain", "ReadRequest", RadiometricWindow=window)["Assign"]["unfit"]) == "") == taken


@pytest.mark.parametrize(
    ("parameter", "side", "taken"),
    [("ImageSize", side, side in {"32", "640", "4096"}) for side in ("32", "640", "4096", "333", "50", "640.5")]
    + [("SliceSize", side, side not in {"1", "30", "63"}) for side in ("0", "1", "30", "63", "64", "16384")],
)
def test_a_side_that_no_container_takes_is_refused_at_once(parameter: str, side: str, taken: bool) -> None:
    unfit = run(state("retrain", "ReadRequest", **{parameter: side})["Assign"]["unfit"], VARIABLES["retrain"])
    assert (unfit == "") if taken else (f"{parameter} is {side}; it must be" in unfit)


def test_what_the_stack_gives_amiss_is_put_right_there() -> None:
    assert which("retrain", "CheckRequest", {"refusal": "", "unfit": "no", "again": False}) == "DescribeFailure"
    error = {"Error": "ParameterRefused", "Cause": "no"}
    variables = {**VARIABLES["retrain"], "failed": "CheckRequest", "error": error}
    alert = run(state("retrain", "DescribeFailure")["Assign"]["alert"], variables)
    assert alert["next_step"] == f"Deploy the stack with another value, then run `skyloop retrain {JOB}`."


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("DatasetInsufficient", "enough.; 2 lines cannot be used"),
        ("GateRefused", "mAP50 is 0.2; 2 lines cannot be used"),
        ("ApprovalNeeded", "Models of this stage are approved by a person; 2 lines cannot be used."),
    ],
)
@pytest.mark.parametrize("notes", [["2 lines cannot be used"], []])
def test_labels_that_were_put_aside_are_told_with_what_became_of_the_others(
    name: str, why: str, notes: list[str]
) -> None:
    decision = {**VARIABLES["retrain"]["decision"], "reasons": ["mAP50 is 0.2"]}
    variables = {**VARIABLES["retrain"], "dataset": {**DATASET, "notes": notes}, "decision": decision}
    said = run(state("retrain", name)["Assign"]["alert"], variables)["why"]
    assert said == (why if notes else why.replace("; 2 lines cannot be used", ""))


@pytest.mark.parametrize("champion", [CHAMPION, {}])
def test_a_training_from_scratch_asks_for_it(champion: wiring.JSON) -> None:
    variables = {**VARIABLES["retrain"], "champion": champion, "asked": {"start_from": "scratch"}}
    training = run(state("retrain", "PlanTraining")["Assign"]["training"], variables)
    assert training["hyperparameters"]["weights"] == "scratch"
    assert [channel["ChannelName"] for channel in training["channels"]] == ["train", "validation"]
    assert training["base_model"] == "scratch"


@pytest.mark.parametrize(("reason", "lost"), list(SAGEMAKER_REASONS.items()))
def test_a_training_that_sagemaker_lost_is_tried_once_more(reason: str, lost: bool) -> None:
    job = {"TrainingJobStatus": "Failed", "FailureReason": reason}
    variables = {**VARIABLES["retrain"], "job": job}
    assert which("retrain", "CheckTraining", {**variables, "lost": 0}) == ("ReadAttempt" if lost else "TrainingEnded")
    assert which("retrain", "CheckTraining", {**variables, "lost": 1}) == "TrainingEnded"
