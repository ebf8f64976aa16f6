from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from cli import flights
from cli.errors import CliError

Picture = Callable[..., Path]


def keys(drop: flights.Drop) -> list[str]:
    return sorted(image.key for image in drop.images)


def test_a_folder_is_a_flight(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "monday" / "b.JPG")
    picture(tmp_path / "monday" / "a.jpeg")
    (tmp_path / "monday" / "notes.txt").write_text("windy")
    drop = flights.plan_drop(tmp_path / "monday")
    assert keys(drop) == ["raw-images/monday/a.jpeg", "raw-images/monday/b.JPG"]
    assert drop.flights == ["monday"]
    assert len(drop.other_files) == 1


def test_a_folder_called_images_takes_its_parents_name(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "night-60m" / "images" / "1.jpg")
    assert keys(flights.plan_drop(tmp_path / "night-60m")) == ["raw-images/night-60m/1.jpg"]
    assert keys(flights.plan_drop(tmp_path / "night-60m" / "images")) == ["raw-images/night-60m/1.jpg"]


def test_sub_folders_with_images_are_flights_of_their_own(tmp_path: Path, picture: Picture) -> None:
    root = tmp_path / "farm"
    picture(root / "1.jpg")
    picture(root / "east" / "1.jpg")
    picture(root / "west" / "north" / "images" / "1.jpg")
    assert keys(flights.plan_drop(root)) == [
        "raw-images/farm-east/1.jpg",
        "raw-images/farm-west-north/1.jpg",
        "raw-images/farm/1.jpg",
    ]


def test_flight_replaces_the_folders_name(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "DCIM" / "1.jpg")
    picture(tmp_path / "DCIM" / "101" / "1.jpg")
    assert flights.plan_drop(tmp_path / "DCIM", "field 7").flights == ["field 7", "field 7-101"]


def test_two_folders_that_become_one_flight_keep_their_files_apart(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "x" / "1.jpg", 1)
    picture(tmp_path / "x" / "images" / "1.jpg", 2)
    assert keys(flights.plan_drop(tmp_path / "x")) == ["raw-images/x/1.jpg", "raw-images/x/images/1.jpg"]


@pytest.mark.parametrize("name", ["a b.jpg", "a+b.jpg", "a%2Fb.jpg", "übung-夜.jpg", "..jpg", "a..b.jpg", "#1?.jpg"])
def test_odd_file_names_stay_as_they_are(tmp_path: Path, picture: Picture, name: str) -> None:
    picture(tmp_path / "odd" / name)
    assert keys(flights.plan_drop(tmp_path / "odd")) == [f"raw-images/odd/{name}"]


@pytest.mark.parametrize("flight", ["", ".", "..", "../secrets", "a/b", "a\\b", "a\nb", "x" * 201])
def test_a_flight_cannot_leave_its_prefix(flight: str) -> None:
    with pytest.raises(CliError, match="cannot be the name of a flight") as refused:
        flights.checked_flight_name(flight)
    assert "--flight" in refused.value.next_step


def test_links_to_folders_are_not_followed(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "elsewhere" / "secret.jpg")
    picture(tmp_path / "flight" / "1.jpg")
    (tmp_path / "flight" / "out").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "flight" / "loop").symlink_to(tmp_path / "flight")
    assert keys(flights.plan_drop(tmp_path / "flight")) == ["raw-images/flight/1.jpg"]


@pytest.mark.parametrize(
    ("left_out", "called"),
    [
        ("._1.jpg", "._*"),
        (".thumbnails/1.jpg", ".thumbnails"),
        ("__MACOSX/._1.jpg", "__MACOSX"),
        ("@eaDir/1.jpg/SYNOPHOTO_THUMB_XL.jpg", "@eaDir"),
        ("SYNOPHOTO_THUMB_M.jpg", "synophoto_*"),
        ("#recycle/1.jpg", "#recycle"),
        ("$RECYCLE.BIN/S-1-5/$R1.jpg", "$RECYCLE.BIN"),
        ("System Volume Information/1.jpg", "System Volume Information"),
        ("lost+found/1.jpg", "lost+found"),
        ("Farm Smart Previews.lrdata/A/1.dng", "*.lrdata"),
        ("Thumbs.db", "Thumbs.db"),
    ],
)
def test_by_products_are_left_out_and_counted(tmp_path: Path, picture: Picture, left_out: str, called: str) -> None:
    picture(tmp_path / "flight" / "1.jpg")
    picture(tmp_path / "flight" / left_out)
    drop = flights.plan_drop(tmp_path / "flight")
    assert keys(drop) == ["raw-images/flight/1.jpg"]
    assert drop.by_products == {called: 1}
    assert drop.other_files == {}


def test_a_folder_that_is_named_is_meant(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / ".thumbnails" / "1.jpg")
    assert keys(flights.plan_drop(tmp_path / ".thumbnails")) == ["raw-images/.thumbnails/1.jpg"]


def test_a_folder_of_by_products_alone_says_what_it_holds(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "flight" / "@eaDir" / "1.jpg")
    with pytest.raises(CliError, match=r"holds no images\. Left out .*: 1 \(@eaDir\)"):
        flights.plan_drop(tmp_path / "flight")


def test_only_so_many_names_are_said() -> None:
    assert flights.by_products_sentence({f".{number}": 2 for number in range(9)}).endswith(
        ": 18 (.0, .1, .2, .3, .4, .5 and 3 more)."
    )


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes there")
def test_a_pipe_is_no_image_and_a_broken_link_is_told_later(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "1.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere")
    search = flights.search_images(tmp_path)
    assert [path.name for path in search.images] == ["1.jpg", "lost.jpg"]
    assert search.other_files == {str(tmp_path / "pipe.jpg"): "no regular file"}


def test_what_is_left_out_is_named_and_what_somebody_may_miss_first(tmp_path: Path, picture: Picture) -> None:
    for name in ("1.gif", "2.HEIC", *(f"{letter}.txt" for letter in "abcdef")):
        (tmp_path / name).write_text("")
    with pytest.raises(CliError, match=r"1\.gif \(\.gif is not read, make a JPEG or PNG of it\), 2\.HEIC"):
        flights.plan_drop(tmp_path)
    picture(tmp_path / "z.jpg")
    said = flights.other_files_sentence(flights.plan_drop(tmp_path).other_files)
    assert said.startswith("Left out: 8 other files: 1.gif (")
    assert said.endswith("d.txt (no image by its name) and 2 more.")


def test_one_file_whatever_its_name(tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "tuesday" / "photo.dat")
    drop = flights.plan_drop(tmp_path / "tuesday" / "photo.dat")
    assert keys(drop) == ["raw-images/tuesday/photo.dat"]
    assert "not an image by its name" in drop.notes[0]


@pytest.mark.parametrize(("path", "what"), [("nowhere", "There is no"), ("", "holds no images")])
def test_nothing_to_drop(tmp_path: Path, path: str, what: str) -> None:
    with pytest.raises(CliError, match=what):
        flights.plan_drop(tmp_path / path)


@pytest.mark.skipif(os.name == "nt", reason="names there are no bytes")
def test_a_name_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    folder = os.fsencode(tmp_path) + b"/flight"
    os.mkdir(folder)
    with open(folder + b"/\xff.jpg", "wb") as file:
        file.write(b"x")
    with pytest.raises(CliError, match="not valid UTF-8"):
        flights.plan_drop(tmp_path / "flight")


def test_a_key_longer_than_s3_takes_is_refused(tmp_path: Path, picture: Picture) -> None:
    deep = tmp_path / "f" / ("a" * 180) / ("b" * 180)
    picture(deep / f"{'ü' * 120}.jpg")
    with pytest.raises(CliError, match=r"cannot be the name of a flight|bytes long"):
        flights.plan_drop(tmp_path / "f")
