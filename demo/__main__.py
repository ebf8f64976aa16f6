"""`python -m demo`: a day in the life of Skyloop, on real airborne images, on this machine. `make demo` runs it."""

from __future__ import annotations

import json
import shutil
import signal
import tarfile
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live
from rich.table import Table
from rich.text import Text
from skyloop.aws.storage import ObjectMissing
from skyloop.layout import ModelArtifacts

from cli import render
from cli.cloud import laptop_cloud
from cli.errors import CliError, translated
from cli.output import Terminal
from cli.start import parse_parameters, start_laptop
from cli.timeline import Timeline
from demo import acts, drops, imagery, report
from demo.narrator import Narrator
from demo.pictures import Picture, flight_map
from demo.play import DemoFailed, Play, Row
from demo.subscriber import Subscriber
from laptop import lifecycle
from laptop.running import Running
from laptop.skyloop_plugin import DEFAULT_HOME, REPOSITORY

HOME = DEFAULT_HOME.with_name(f"{DEFAULT_HOME.name}-demo")  # beside: who removes the one keeps the other
CACHE = REPOSITORY / ".cache"
REPORT = REPOSITORY / "demo-report"
ACT_ZERO = "0  A cloud on this machine"
# What differs from samconfig.toml's [laptop]: small frames, so that three trainings do not take too long; and a drift
# window, a batch and a floor that fit about a hundred frames.
PARAMETERS = {
    "BaseWeights": "scratch",  # it runs without a network
    "Epochs": "12",
    "ImageSize": "160",
    "BatchSize": "4",
    "LabelingBatchSize": "40",
    "LabelingMaxWaitHours": "1",
    "MinMap50": "0.2",
    "MinClassBoxes": "20",
    "MaxMap50Drop": "0.02",
    "DriftWindow": "24",
}
# After the first training there is a model to start from, which knows trees already.
WARM_PARAMETERS = {"Epochs": "10"}
MODEL_CARD = "model.json"  # training_container/skyloop_container writes it
COLORS = {"flight lines 1": "#32d7ff", "flight lines 2": "#30d158", "waiting": "#ffd60a"}


def interrupt(*_: object) -> None:
    """End the demo as Ctrl-C does."""
    raise KeyboardInterrupt


def stop_cloud(home: Path) -> None:
    """Stop the demo's cloud, in any state; a second Ctrl-C must not leave half of it running."""
    previous = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        lifecycle.down(home)
    finally:
        signal.signal(signal.SIGINT, previous)


def ground_pictures(folder: Path) -> list[Picture]:
    """The two orthophotos with the flight lines of the demo."""
    flown = {
        drops.DENSE: dict.fromkeys(range(1, 6), "flight lines 1"),
        drops.SPARSE: {7: "flight lines 2", 8: "flight lines 2", 10: "waiting"},
    }
    pictures = []
    for name, lines in flown.items():
        marks = {number: (COLORS[drop], f"line {number}: {drop}") for number, drop in lines.items()}
        caption = f"{name}, 0.1 m per pixel. One frame is {drops.FRAME} pixels square."
        ground = imagery.read_orthophoto(folder, name).image
        pictures.append(Picture(ACT_ZERO, caption, flight_map(ground, marks, drops.FRAME)))
    return pictures


def base_model(play: Play, job: str) -> str:
    """What a model was really trained from: the container writes it into the model."""
    body = play.cloud.storage.read(ModelArtifacts(job).model).body
    with tarfile.open(fileobj=BytesIO(body)) as archive:
        card = next(member for member in archive if Path(member.name).name == MODEL_CARD)
        content = archive.extractfile(card)
        assert content is not None
        base = json.load(content)["base"]
    return f"{base['kind']}: {base['detail'].partition(' (')[0]}"


def copy_artifacts(play: Play, folder: Path) -> dict[str, str]:
    """Copy the documents that the report names to a folder beside it; caption -> path relative to the page."""
    copied = {}
    for caption, key in play.artifacts.items():
        with suppress(ObjectMissing):
            body = play.cloud.storage.read(key).body
            target = folder / "documents" / key.replace("/", "_")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(body)
            copied[caption] = f"documents/{target.name}"
    return copied


def perform(play: Play, narrator: Narrator, warm: Callable[[], Running]) -> None:
    """Play all acts; `warm` changes the stack's parameters when there is a model to start from."""
    play.timeline.look()
    first = acts.first_flights(play)
    play.base = base_model(play, first.job)
    narrator.say(f"v1 was trained from: {play.base}")
    narrator.act(acts.ACT_LOOK)
    unseen = acts.unseen_frames(play, first)
    acts.look(play, acts.ACT_LOOK, "v1", unseen)
    narrator.act(acts.ACT_TWO)
    warm()
    second = acts.more_flights(play)
    if second.deployed:
        acts.look(play, acts.ACT_TWO, "v2", unseen)
    acts.scrambled_labels(play)
    acts.other_sites(play)


def main(
    base_weights: Annotated[
        str | None,
        typer.Option(
            "--base-weights",
            envvar="SKYLOOP_BASE_WEIGHTS",
            help="A .pt file or a name such as yolo11n.pt (by default scratch, which are random weights).",
        ),
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of template.yaml.")
    ] = None,
    home: Annotated[Path, typer.Option(help="Folder of the demo's own laptop cloud; it is emptied first.")] = HOME,
    cache: Annotated[Path, typer.Option(help="Where the imagery is kept between runs.")] = CACHE,
    report_folder: Annotated[Path, typer.Option("--report", help="Folder for the page.")] = REPORT,
) -> None:
    """Play a day in the life: four flights of a drone, a bad batch, and a change of scene."""
    signal.signal(signal.SIGTERM, interrupt)
    console = Terminal()
    narrator = Narrator(console)
    pictures: list[Picture] = []
    play: Play | None = None
    failure, code = None, 0
    try:
        narrator.act(ACT_ZERO)
        folder = imagery.fetch(cache)
        dropped = drops.prepare_drops(folder, cache / "drops")
        narrator.say(f"imagery ready. {imagery.LICENSE}")
        pictures += ground_pictures(folder)
        stop_cloud(home)
        shutil.rmtree(home, ignore_errors=True)
        given = parse_parameters(parameter or [])

        def progress(text: str) -> None:
            narrator.say(text, stage="cloud")

        start_laptop(home, {**PARAMETERS, **given}, base_weights, {}, progress)
        cloud = laptop_cloud(home)
        subscriber = Subscriber(cloud.client("sns"), cloud.outputs["AlertTopicArn"])
        narrator.say(
            f"a subscriber listens at {subscriber.subscribe()}, its SNS subscription confirmed", "good", "alert"
        )
        play = Play(cloud, narrator, subscriber, dropped, Timeline(cloud), report_folder / "index.html")
        with (
            Live(render.activity_line(None), console=console, refresh_per_second=4, transient=True) as live,
            translated(),
        ):
            narrator.live = live
            perform(play, narrator, lambda: start_laptop(home, WARM_PARAMETERS | given, None, {}, progress))
    except KeyboardInterrupt:
        failure, code = "interrupted", 130
    except (DemoFailed, imagery.ImageryError, CliError, TimeoutError) as error:
        next_step = f" {error.next_step}" if isinstance(error, CliError) else ""
        failure, code = f"{error}{next_step}", 1
    finally:
        narrator.live = None
        if play is not None:
            finish(play, pictures, failure)
            play.subscriber.close()
        stop_cloud(home)
    if failure:
        console.print(Text.assemble(("The story stopped: ", "bold red"), failure))
    raise typer.Exit(code)


def finish(play: Play, pictures: list[Picture], failure: str | None) -> None:
    """Print the table of what happened and write the page; as far as possible when the story stopped early."""
    console, folder = play.narrator.console, play.page.parent
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    with suppress(CliError):
        with translated():
            artifacts = copy_artifacts(play, folder)
        page = report.render_page(
            play.narrator,
            play.rows,
            pictures + play.pictures,
            artifacts,
            base=play.base,
            failure=failure,
            made_at=datetime.now(),
        )
        play.page.write_text(page)
    console.print()
    console.print(summary(play.rows))
    console.print(f"{play.narrator.elapsed:.0f} s. Pictures and documents: {play.page}")
    console.print(
        f"The cloud's state stays in {play.cloud.home}; `skyloop up --home {play.cloud.home}` brings it back."
    )


def summary(rows: list[Row]) -> Table:
    """The table at the end."""
    table = render.table("what", "what came of it", "where (in the data bucket)")
    for row in rows:
        table.add_row(row.what, row.outcome, row.where)
    return table


if __name__ == "__main__":
    typer.run(main)
