"""`approve`, `reject`, `retrain`, `deploy`, `rollback`, `detect`: the models, and the one in service."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from pydantic import ValidationError
from skyloop.documents import MAX_EPOCHS, RetrainRequest, TrainingOptions

from cli import actions, detect, render, snapshot
from cli.actions import Started
from cli.cloud import Cloud
from cli.command import command
from cli.errors import CliError
from cli.flights import by_products_sentence
from cli.output import Output
from cli.weights import require_weights, weights_to_train_from

if TYPE_CHECKING:
    from mypy_boto3_sagemaker.literals import ModelApprovalStatusType

Version = Annotated[str | None, typer.Argument(help="Version number or ARN of a model package.")]
Comment = Annotated[str | None, typer.Option("--comment", help="Why; kept with the package.")]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Wait until it has ended.")]
DEPLOYMENT_SECONDS = 3600.0
NOTHING_DONE = ("not deployed", "nothing to roll back", "overtaken")
"""How an outcome of `deploy.asl.yaml` or `rollback.asl.yaml` begins that is not what was asked for."""


class StartFrom(StrEnum):
    """What a training begins with."""

    champion = "champion"
    weights = "weights"
    scratch = "scratch"


@command
def approve(cloud: Cloud, out: Output, version: Version = None, comment: Comment = None) -> None:
    """Approve a model package, by default the newest that waits. Approving deploys it."""
    _decide(cloud, out, version, comment, "Approved", "It is being deployed: `skyloop watch`.")


@command
def reject(cloud: Cloud, out: Output, version: Version = None, comment: Comment = None) -> None:
    """Reject a model package, by default the newest that waits."""
    _decide(cloud, out, version, comment, "Rejected", "What serves stays as it is.")


def _decide(
    cloud: Cloud, out: Output, version: str | None, comment: str | None, approval: ModelApprovalStatusType, then: str
) -> None:
    package = actions.find_package(cloud, version, "PendingManualApproval")
    serving = snapshot.endpoint(cloud)
    if approval == "Rejected" and package.arn == serving.package_arn:
        out.warn(
            f"Version {package.version} is in service and stays so; `skyloop rollback` takes it out, or `skyloop deploy"
            " VERSION` of another."
        )
    if package.approval == approval:
        then = "It already was; nothing changed."
    else:
        actions.set_approval(cloud, package, approval, comment)
        if approval == "Approved" and serving.version.isdigit() and int(serving.version) > package.version:
            then = (
                f"It is not deployed, because version {serving.version} in service is newer: `skyloop deploy "
                f"{package.version}` deploys it all the same."
            )
    document = {"version": package.version, "arn": package.arn, "approval": approval, "was": package.approval}
    out.result(document, lambda: f"Version {package.version} is {approval}. {then}")


def _finish(cloud: Cloud, out: Output, started: Started, wait: bool, what: str) -> None:
    if not wait:
        out.result(started.as_document(), lambda: f"Started {what} ({started.name}). `skyloop watch` follows it.")
        return
    out.note(f"{what} started ({started.name}); Ctrl-C leaves it running.")
    ended = actions.wait(cloud, started.execution_arn, DEPLOYMENT_SECONDS)
    now = snapshot.endpoint(cloud)
    document = {**started.as_document(), "status": ended["status"], "output": json.loads(ended.get("output") or "null")}
    out.result(document, lambda: render.endpoint_line(now, None))
    if ended["status"] != "SUCCEEDED":
        raise CliError(
            f"{what} {ended['status'].lower()}: {ended.get('error', '')} {ended.get('cause', '')}".strip(),
            "`skyloop alerts` says why and what was kept.",
        )
    outcome = str((document["output"] or {}).get("outcome", ""))
    if outcome.startswith(NOTHING_DONE):
        raise CliError(f"The {what} did nothing: {outcome}.", "`skyloop status` shows what serves.")


@command
def retrain(
    cloud: Cloud,
    out: Output,
    labeling_job: Annotated[
        str | None, typer.Argument(help="A labeling job's name (by default the newest completed one).")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option("--epochs", min=1, max=MAX_EPOCHS, help="Instead of the stack's parameter.")
    ] = None,
    start_from: Annotated[
        StartFrom | None,
        typer.Option(
            "--from",
            metavar="champion|weights|scratch",
            help="The model in service (where there is one, the default), weights, or nothing.",
        ),
    ] = None,
    base_weights: Annotated[
        str | None,
        typer.Option(
            "--base-weights",
            help="A .pt file, which goes to model-artifacts/base-weights/ in the data bucket, the s3:// URI of one"
            " under model-artifacts/ there, or a name (yolo11n.pt); with --from weights.",
        ),
    ] = None,
) -> None:
    """Train once more on the labels up to a labeling job. A training that broke off goes on from its checkpoint."""
    job = actions.find_labeling_job(cloud, labeling_job)
    if running := actions.running_training(cloud, job):
        raise actions.runs_already(running)
    if base_weights:
        if start_from not in (None, StartFrom.weights):
            raise CliError(
                f"--base-weights goes with --from weights, not {start_from.value}.", "Leave one of them out."
            )
        start_from = StartFrom.weights
        base_weights = weights_to_train_from(cloud, base_weights)
    elif start_from is StartFrom.weights or (start_from is not StartFrom.scratch and not snapshot.packages(cloud, 1)):
        require_weights(cloud, cloud.outputs["BaseWeights"])
    try:
        options = TrainingOptions(epochs=epochs, start_from=start_from and start_from.value, base_weights=base_weights)
    except ValidationError as error:
        raise CliError(
            f"{base_weights} cannot be base weights: a model package could not record the name.",
            "Use letters, digits, spaces and _ . / - only, at most 180 of them, and .pt at the end of an s3:// URI.",
        ) from error
    request = RetrainRequest(labeling_job_name=job, training=options)
    started = actions.start_training(cloud, job, request.as_input())
    out.result(started.as_document(), lambda: f"Started {started.name}. `skyloop watch` follows it.")


@command
def deploy(cloud: Cloud, out: Output, version: Version = None, wait: Wait = True) -> None:
    """Deploy an approved model package: the one you name, also if a newer one serves, or the newest."""
    package = actions.find_package(cloud, version, "Approved")
    if package.approval != "Approved":
        raise CliError(
            f"Version {package.version} is {package.approval}.", f"Approve it first: skyloop approve {package.version}"
        )
    # By itself no deployment replaces a newer version; a person who names one means it.
    request = json.dumps({"model_package_arn": package.arn, "force": version is not None})
    started = actions.start(cloud, "Deploy", actions.deployment_name(cloud, package), request)
    _finish(cloud, out, started, wait, f"deployment of version {package.version}")


@command
def rollback(
    cloud: Cloud,
    out: Output,
    reason: Annotated[str, typer.Option("--reason", help="Why; it goes into the alert.")] = "by hand",
    to_rejected: Annotated[
        bool, typer.Option("--to-rejected", help="Go back even to a version whose package was rejected.")
    ] = False,
    wait: Wait = True,
) -> None:
    """Go back to the last good endpoint config; an update that is under way is stopped.

    A model whose artifact is not the one that was evaluated is not loaded again.
    """
    now = snapshot.endpoint(cloud)
    if now.status == "NotDeployed":
        raise CliError(f"There is no endpoint {now.name}.", "`skyloop status` shows what there is.")
    if now.status == "Updating":
        out.note("An update is under way: it is stopped, and what served before goes on.")
    elif now.status != "InService":
        raise CliError(f"{now.name} is {now.status}.", "Wait until it is InService (`skyloop watch`), then repeat.")
    state = snapshot.endpoint_state(cloud)
    # A config in service that was never recorded goes back to the recorded one, so the record needs no earlier one.
    if now.status == "InService" and (state is None or (state.config == now.config and not state.previous_config)):
        if snapshot.executions(cloud, "Deploy", "RUNNING", 1):
            raise CliError(
                "A deployment is being prepared, and the endpoint is as it was.",
                "Repeat as soon as `skyloop status` shows it Updating: that stops it.",
            )
        raise CliError(
            "There is no earlier config to go back to.", "`skyloop deploy VERSION` deploys a version you choose."
        )
    if now.status == "InService" and state and not to_rejected:
        goes_to = (state.previous_package_arn if state.config == now.config else state.package_arn) or ""
        if (why := actions.why_rejected(cloud, goes_to)) is not None:
            raise CliError(
                f"The version to go back to, {goes_to.rpartition('/')[2]}, was rejected: {why}",
                "`skyloop rollback --to-rejected` goes back all the same; `skyloop deploy VERSION` deploys another.",
            )
    request = json.dumps({"endpoint_name": now.name, "reason": reason})
    started = actions.start(cloud, "Rollback", now.name, request)
    _finish(cloud, out, started, wait, "rollback")


@command
def detect_objects(
    cloud: Cloud,
    out: Output,
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images.")],
    out_folder: Annotated[Path, typer.Option("--out", help="Where the pictures with boxes go.")] = Path("detections"),
    confidence: Annotated[
        float | None, typer.Option("--confidence", min=0, max=1, help="Only detections with at least this confidence.")
    ] = None,
    pictures: Annotated[bool, typer.Option("--pictures/--no-pictures", help="Draw and save pictures.")] = True,
    captions: Annotated[
        bool | None,
        typer.Option(
            "--captions/--no-captions",
            help="Category and confidence at every box, or at none and a legend; by default where there is room.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Ask the endpoint what it detects on images, and draw it."""
    paths, by_products = detect.find_images(images)
    if by_products:
        out.note(by_products_sentence(by_products))
    targets = list(detect.picture_names(paths, out_folder))
    found: list[detect.ImageDetections] = []
    failed: list[tuple[Path, CliError]] = []
    saved: dict[Path, Path] = {}
    for path, target in out.track(list(zip(paths, targets, strict=True)), "Detecting", len(paths)):
        try:
            detected = detect.detect_image(cloud, path, confidence)
            found.append(detected)
            if pictures:
                detect.save_picture(detected, target, captions)
                saved[path] = target
        except CliError as error:
            if len(paths) == 1:
                raise
            failed.append((path, error))
    for path, failure in failed:
        out.warn(f"{path}: {failure.what}")
    if not found:
        raise failed[0][1]
    documents = [
        {**item.as_document(), "picture": str(saved[item.path]) if item.path in saved else None} for item in found
    ]
    out.result(documents, lambda: render.detections(found, saved))
    if failed:
        raise CliError(f"{len(failed)} of {len(paths)} images got no answer.", failed[0][1].next_step)
