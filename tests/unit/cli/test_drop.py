from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from botocore.exceptions import EndpointConnectionError

from cli import drop
from cli.cloud import Cloud

BUCKET = "skyloop-data"
Picture = Callable[..., Path]


def keys(cloud: Cloud, prefix: str = "raw-images/") -> list[str]:
    answer = cloud.client("s3").list_objects_v2(Bucket=BUCKET, Prefix=prefix)
    return [item["Key"] for item in answer.get("Contents", [])]


def body(cloud: Cloud, key: str) -> bytes:
    return cloud.client("s3").get_object(Bucket=BUCKET, Key=key)["Body"].read()


def labels(folder: Path, *names: str, category: str = "tree") -> Path:
    document = {
        "images": [{"id": i, "file_name": name} for i, name in enumerate(names)],
        "annotations": [{"id": i, "image_id": i, "category_id": 1, "bbox": [1, 2, 3, 4]} for i in range(len(names))],
        "categories": [{"id": 1, "name": category}],
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(document))
    return path


def test_a_drop_puts_images_boxes_and_categories(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    folder = tmp_path / "night 60m"
    picture(folder / "images" / "a+b c.jpg", 1)
    picture(folder / "images" / "é%2F.jpg", 2)
    file = labels(folder, "a+b c.jpg", "é%2F.jpg")
    result = invoke("drop", folder, "--labels", file, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert (report["uploaded"], report["boxes"], report["categories_added"]) == (2, 2, ["tree"])
    assert set(keys(cloud)) == {"raw-images/night 60m/a+b c.jpg", "raw-images/night 60m/é%2F.jpg"}
    known = json.loads(body(cloud, "ground-truth-jobs/known-boxes/night 60m.json"))
    assert {image["file_name"] for image in known["images"]} == {"a+b c.jpg", "é%2F.jpg"}
    categories = json.loads(body(cloud, "ground-truth-jobs/label-categories.json"))
    assert categories == {"document-version": "2018-11-28", "labels": [{"label": "tree"}]}
    head = cloud.client("s3").head_object(Bucket=BUCKET, Key="raw-images/night 60m/a+b c.jpg")
    assert head["Metadata"]["correlation-id"] == report["correlation_id"]
    assert head["ContentType"] == "image/jpeg"


def test_dropping_again_changes_nothing(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    picture(tmp_path / "f" / "2.jpg", 2)
    file = labels(tmp_path / "f", "1.jpg", "2.jpg")
    invoke("drop", tmp_path / "f", "--labels", file)
    s3 = cloud.client("s3")
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    before = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    result = invoke("drop", tmp_path / "f", "--labels", file, "--json")
    report = json.loads(result.stdout)
    assert (report["uploaded"], report["already_there"], report["categories_added"]) == (0, 2, [])
    after = s3.list_object_versions(Bucket=BUCKET)["Versions"]
    assert [(item["Key"], item["VersionId"]) for item in after] == [(item["Key"], item["VersionId"]) for item in before]


def test_raw_images_never_change(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    invoke("drop", tmp_path / "f")
    original = body(cloud, "raw-images/f/1.jpg")
    picture(tmp_path / "f" / "1.jpg", 99)
    picture(tmp_path / "f" / "2.jpg", 2)
    result = invoke("drop", tmp_path / "f")
    assert result.exit_code == 1
    assert "hold other content" in result.stderr
    assert "--flight" in result.stderr
    assert body(cloud, "raw-images/f/1.jpg") == original
    assert "raw-images/f/2.jpg" in keys(cloud)


def test_unusable_files_are_uploaded_with_a_warning(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    good = picture(tmp_path / "f" / "good.jpg", 1).read_bytes()
    (tmp_path / "f" / "text.jpg").write_text("not an image")
    (tmp_path / "f" / "empty.jpg").write_bytes(b"")
    (tmp_path / "f" / "short.jpg").write_bytes(good[:15])
    result = invoke("drop", tmp_path / "f")
    assert result.exit_code == 0, result.output
    assert len(keys(cloud)) == 4
    said = " ".join(result.stdout.split())
    assert "empty.jpg: the file has 0 bytes" in said
    assert "text.jpg: it is text" in said
    assert "good.jpg" not in said


def test_by_products_are_left_out_and_said_once(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "site" / "1.jpg", 1)
    picture(tmp_path / "site" / "@eaDir" / "1.jpg" / "SYNOPHOTO_THUMB_XL.jpg", 2)
    picture(tmp_path / "site" / ".thumbnails" / "1.jpg", 3)
    result = invoke("drop", tmp_path / "site", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["by_products"] == {"@eaDir": 1, ".thumbnails": 1}
    assert result.stderr.count("by-products of other programs: 2 (.thumbnails, @eaDir).") == 1
    assert keys(cloud) == ["raw-images/site/1.jpg"]


def test_labels_that_fit_some_images_say_which_not(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    picture(tmp_path / "f" / "2.jpg", 2)
    result = invoke("drop", tmp_path / "f", "--labels", labels(tmp_path / "f", "1.jpg", "gone.jpg"))
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "1 entries of" in said
    assert "such as gone.jpg" in said
    assert "1 images have no entry" in said


def test_entries_of_one_picture_are_told_and_counted_once(
    invoke, cloud: Cloud, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    picture(tmp_path / "f" / "2.jpg", 2)
    file = labels(tmp_path / "f", "1.jpg", "./1.jpg", "2.jpg")
    document = json.loads(file.read_text())
    document["annotations"].append({"id": 9, "image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 5]})
    file.write_text(json.dumps(document))
    result = invoke("drop", tmp_path / "f", "--labels", file)
    assert result.exit_code == 0
    said = " ".join(result.stdout.split())
    assert "3 known boxes" in said
    assert "1 pictures have several entries in" in said
    assert "1 that two of them have only once" in said
    assert "1 boxes of such entries share half or more" in said
    assert len(json.loads(body(cloud, "ground-truth-jobs/known-boxes/f.json"))["annotations"]) == 3


def test_labels_that_fit_no_image_drop_nothing(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    result = invoke("drop", tmp_path / "f", "--labels", labels(tmp_path / "f", "other.jpg"))
    assert result.exit_code == 1
    assert "name none of the images" in result.stderr
    assert keys(cloud, "") == []


def test_known_boxes_that_cannot_be_read_are_not_overwritten(
    invoke, cloud: Cloud, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    key = "ground-truth-jobs/known-boxes/f.json"
    cloud.client("s3").put_object(Bucket=BUCKET, Key=key, Body=b"{}")
    result = invoke("drop", tmp_path / "f", "--labels", labels(tmp_path / "f", "1.jpg"))
    assert result.exit_code == 1
    assert f"s3 object {key} is not a COCO detection file" in " ".join(result.stderr.split())
    assert body(cloud, key) == b"{}"


def test_boxes_that_lie_beside_are_mentioned_and_not_used(
    invoke, cloud: Cloud, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    labels(tmp_path / "f", "1.jpg")
    result = invoke("drop", tmp_path / "f")
    assert "--labels" in result.stdout
    assert keys(cloud, "ground-truth-jobs/") == []


def test_a_drop_says_when_nobody_knows_what_to_look_for(invoke, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    assert "skyloop categories add" in invoke("drop", tmp_path / "f").stdout
    invoke("categories", "add", "tree")
    assert "categories" not in invoke("drop", tmp_path / "f").stdout


def test_many_images_one_report(invoke, cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    for number in range(40):
        picture(tmp_path / "f" / f"{number:03d}.jpg", number)
    assert json.loads(invoke("drop", tmp_path / "f", "--json").stdout)["uploaded"] == 40
    assert len(keys(cloud)) == 40


def test_what_is_left_out_is_named(invoke, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg", 1)
    (tmp_path / "f" / "1.heic").write_bytes(b"x")
    said = " ".join(invoke("drop", tmp_path / "f").stdout.split())
    assert "1.heic (.heic is not read, make a JPEG or PNG of it)" in said


def test_copies_of_one_picture_are_told(invoke, tmp_path: Path, picture: Picture) -> None:
    for name in ("a.jpg", "b.jpg", "c.jpg"):
        picture(tmp_path / "f" / name, 1)
    picture(tmp_path / "f" / "d.jpg", 2)
    result = invoke("drop", tmp_path / "f", "--json")
    first = str(tmp_path / "f" / "a.jpg")
    copies = {str(tmp_path / "f" / name): first for name in ("b.jpg", "c.jpg")}
    assert json.loads(result.stdout)["same_picture"] == copies
    assert "2 files are copies of others here" in " ".join(result.stderr.split())


def test_a_cloud_that_ends_in_a_drop_leaves_what_to_do(
    invoke, cloud: Cloud, tmp_path: Path, picture: Picture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address of the picture that was asked for last helped nobody."""
    for number in range(4):
        picture(tmp_path / "f" / f"{number}.jpg", number)
    put, gone = drop.upload_image, threading.Barrier(2)

    def until_it_ends(s3, bucket, image, *rest):
        if image.name == "3.jpg":
            gone.wait(60)
            raise EndpointConnectionError(endpoint_url=f"http://127.0.0.1:4566/{bucket}/{image.key}")
        answer = put(s3, bucket, image, *rest)
        if image.name == "2.jpg":
            gone.wait(60)
        return answer

    monkeypatch.setattr(drop, "WORKERS", 2)
    monkeypatch.setattr(drop, "upload_image", until_it_ends)
    result = invoke("drop", tmp_path / "f")
    said = " ".join(result.stderr.split())
    assert result.exit_code == 1
    assert "Nothing answers at http://127.0.0.1:4566. 3 of 4 images are there." in said
    assert "drop the same again: what is there is not sent twice" in said
