"""functions/convert_labels: from output manifest to training data."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import ExifTags, Image
from skyloop.aws.catalogue import MAX_UNANSWERED
from skyloop.aws.storage import Storage
from skyloop.formats.images import check_image

from tests.support.account import BUCKET
from tests.support.files import stored_lines
from tests.support.labeled_lines import JOB, labeled
from tests.support.pictures import encoded, picture


def records(storage, key: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in storage.read(key).body.splitlines()]


def test_labels_are_written_by_name_and_the_image_is_labeled(storage, catalogue, dropped, convert):
    body = encoded(picture())
    line = dropped("raw-images/north é+/a b.jpg", body)
    answer = convert(labeled(line, (0, 8, 12, 16, 24), (7, 0, 0, 6, 6)))
    record_key = answer.pop("record_key")
    assert answer == {"converted": 1, "boxes": 2, "put_aside": 0, "quarantined": 0, "unlabeled": 0}

    (record,) = records(storage, record_key)
    assert record["key"] == f"labeled-data/images/{line['image-id']}.jpg"
    assert (record["flight"], record["source_key"]) == ("north é+", "raw-images/north é+/a b.jpg")
    assert (record["width"], record["height"]) == (64, 48)
    assert storage.read(record["key"]).body == body
    assert record["boxes"] == [["car", 8, 12, 16, 24], ["person", 0, 0, 6, 6]]
    assert catalogue.get(line["image-id"]).status == "LABELED"


def test_an_answer_without_boxes_is_training_data_and_no_answer_is_not(storage, catalogue, dropped, convert, settle):
    nothing = dropped("raw-images/f/1.jpg", encoded(picture(seed=1)))
    skipped = dropped("raw-images/f/2.jpg", encoded(picture(seed=2)))
    answer = convert(labeled(nothing), skipped)
    assert (answer["converted"], answer["boxes"], answer["unlabeled"]) == (1, 0, 1)
    (record,) = records(storage, answer["record_key"])
    assert record["boxes"] == []
    settle()
    back = catalogue.get(skipped["image-id"])
    assert (back.status, back.attempts, back.unanswered) == ("PENDING", 1, 1)


def test_an_image_that_is_never_answered_is_quarantined_in_the_end(catalogue, dropped, convert, settle):
    line = dropped("raw-images/f/1.jpg", encoded(picture()), unanswered=MAX_UNANSWERED - 1)
    convert(line)
    settle()
    item = catalogue.get(line["image-id"])
    assert item.status == "QUARANTINED"
    assert "without labels" in item.reason


def test_bad_lines_are_quarantined_and_the_others_go_on(storage, catalogue, dropped, convert, settle):
    good = labeled(dropped("raw-images/f/1.jpg", encoded(picture(seed=1))), (0, 1, 1, 5, 5))
    unknown = labeled(
        dropped("raw-images/f/2.jpg", encoded(picture(seed=2))), (0, 1, 1, 5, 5), **{"class-map": {"0": "boat"}}
    )
    outside = labeled(dropped("raw-images/f/3.jpg", encoded(picture(seed=3))), (0, 500, 1, 5, 5))
    gone = labeled({"source-ref": f"s3://{BUCKET}/raw-images/f/gone.jpg"}, (0, 1, 1, 5, 5))
    foreign = labeled({"source-ref": "s3://elsewhere/f.jpg"}, (0, 1, 1, 5, 5))
    answer = convert("text", unknown, good, outside, gone, foreign, *stored_lines("unusable"))
    assert answer["converted"] == 1
    assert answer["quarantined"] == 5 + len(stored_lines("unusable"))

    kept = [storage.read_json(summary.key) for summary in storage.listing(f"quarantine/labels/{JOB}/")]
    reasons = {json.dumps(entry["line"], sort_keys=True): entry["reason"] for entry in kept}
    assert "'boat'" in reasons[json.dumps(unknown, sort_keys=True)]
    assert "outside" in reasons[json.dumps(outside, sort_keys=True)]
    assert "is gone" in reasons[json.dumps(gone, sort_keys=True)]
    assert "not in bucket" in reasons[json.dumps(foreign, sort_keys=True)]
    assert all(reasons.values())
    settle()
    item = catalogue.get(unknown["image-id"])
    assert item.status == "QUARANTINED"
    assert "'boat'" in item.reason
    assert catalogue.get(good["image-id"]).status == "LABELED"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image-id": "x" * 3000}, "image-id has 3000 bytes"),
        ({"image-id": "\ud800"}, "image-id has half a surrogate"),
        ({"image-id": "é" * 600, "source-ref": f"s3://{BUCKET}/raw-images/f/gone.jpg"}, "image-id has 1200 bytes"),
        ({"flight": "f" * 5000, "image-id": None}, "flight has 5000 bytes"),
        ({"flight": "\udfff", "image-id": None}, "flight has half a surrogate"),
        ({"source-ref": f"s3://{BUCKET}/", "image-id": None}, "has 0 bytes"),
        ({"source-ref": f"s3://{BUCKET}", "image-id": None}, "has 0 bytes"),
        ({"source-ref": f"s3://{BUCKET}/{'k' * 2000}", "image-id": None}, "has 2000 bytes"),
        ({"source-ref": f"s3://{BUCKET}/raw-images/f/\udfff.jpg", "image-id": None}, "half a surrogate"),
        ({"source-ref": f"s3://{BUCKET}/raw-images/../x.jpg", "image-id": None}, "path segment '..'"),
        ({"boxes-metadata": {"class-map": {"0": "x" * 500_000}}}, "is none of the label categories"),
        ({"boxes-metadata": {"class-map": {str(n): f"name {n}" for n in range(1, 40_000)}}}, "not in the line's"),
        ({"boxes-metadata": {"class-map": {"1": "\ud800"}}}, "not in the line's class-map"),
        ({"more": json.loads("[" * 900 + "]" * 900)}, "JSON object"),
    ],
    ids=lambda value: None if isinstance(value, dict) else value,
)
@pytest.mark.parametrize("answered", [True, False])
def test_one_line_fails_no_other_whatever_it_says(
    storage, catalogue, dropped, convert, settle, changes, words, answered
):
    good = labeled(dropped("raw-images/f/1.jpg", encoded(picture(seed=1))), (0, 1, 1, 5, 5))
    line = labeled(dropped("raw-images/f/2.jpg", encoded(picture(seed=2))), (0, 1, 1, 5, 5))
    bad = {**line, **changes}
    if not answered:
        del bad["boxes"]
    answer = convert(bad, good)
    assert answer["converted"] == 1
    assert catalogue.get(good["image-id"]).status == "LABELED"
    assert answer["quarantined"] + answer["unlabeled"] == 1
    if answered:
        [kept] = [storage.read_json(summary.key) for summary in storage.listing(f"quarantine/labels/{JOB}/")]
        assert words in kept["reason"]
    settle()
    if bad["image-id"] == line["image-id"]:
        reason = catalogue.get(line["image-id"]).reason
        assert reason is None or len(reason) <= 1000


@pytest.mark.parametrize(
    ("code", "put_aside"),
    [
        ("InvalidObjectState", True),
        ("ValidationException", True),
        ("SlowDown", False),
        ("InternalError", False),
        ("AccessDenied", False),
        ("RequestTimeout", False),
    ],
)
def test_what_a_service_says_of_one_line_is_told_from_its_own_trouble(
    catalogue, dropped, convert, monkeypatch, code, put_aside
):
    """An archived object is its line's affair; a service that is busy is asked again, and no label is lost."""
    good = labeled(dropped("raw-images/f/1.jpg", encoded(picture(seed=1))), (0, 1, 1, 5, 5))
    bad = labeled(dropped("raw-images/f/2.jpg", encoded(picture(seed=2))), (0, 1, 1, 5, 5))
    real = Storage.read

    def read(self: Storage, key: str, **options: Any) -> Any:
        if key == "raw-images/f/2.jpg":
            raise ClientError({"Error": {"Code": code, "Message": "no"}}, "GetObject")
        return real(self, key, **options)

    monkeypatch.setattr(Storage, "read", read)
    if put_aside:
        assert convert(bad, good)["quarantined"] == 1
        assert catalogue.get(good["image-id"]).status == "LABELED"
    else:
        with pytest.raises(ClientError, match=code):
            convert(bad, good)
        assert catalogue.get(bad["image-id"]).status == "LABELING"


def test_what_another_job_has_taken_up_meanwhile_is_its_own_affair(catalogue, dropped, convert, settle):
    line = dropped("raw-images/f/1.jpg", encoded(picture()))
    convert(labeled(line, (0, 500, 1, 5, 5)))
    catalogue.requeue(line["image-id"], JOB)
    catalogue.claim(line["image-id"], "another")
    settle()
    assert catalogue.get(line["image-id"]).status == "LABELING"


def test_a_class_that_is_named_twice_is_not_guessed(storage, catalogue, dropped, convert, settle):
    """Nor are workers asked again, who would answer the same."""
    dropped_line = dropped("raw-images/f/1.jpg", encoded(picture()))
    line = json.dumps(labeled(dropped_line, (0, 1, 1, 5, 5)))
    twice = line.replace('"0": "car"', '"0": "car", "0": "person"')
    assert convert(twice)["quarantined"] == 1
    (put_aside,) = [one.key for one in storage.listing(f"quarantine/labels/{JOB}/")]
    assert "has the member '0' twice" in storage.read_json(put_aside)["reason"]
    settle()
    item = catalogue.get(dropped_line["image-id"])
    assert item.status == "QUARANTINED"
    assert "has the member '0' twice" in item.reason


def test_a_line_that_names_two_images_puts_neither_aside(catalogue, dropped, convert, settle):
    images = [dropped(f"raw-images/f/{n}.jpg", encoded(picture(seed=n)))["image-id"] for n in range(2)]
    line = json.dumps({"source-ref": f"s3://{BUCKET}/raw-images/f/0.jpg", "image-id": images[0]})
    assert convert(f'{line[:-1]}, "image-id": "{images[1]}"}}')["quarantined"] == 1
    settle()
    assert [catalogue.get(image).status for image in images] == ["PENDING"] * 2


def test_a_replaced_picture_does_not_get_the_labels_of_the_old_one(storage, dropped, convert):
    line = dropped("raw-images/f/1.jpg", encoded(picture(seed=1)))
    storage.write("raw-images/f/1.jpg", encoded(picture(seed=2)))
    assert convert(labeled(line, (0, 1, 1, 5, 5)))["quarantined"] == 1


def test_an_imported_line_without_an_id_is_known_by_its_content(storage, dropped, convert):
    line = dropped("raw-images/f/1.jpg", encoded(picture()))
    del line["image-id"], line["flight"]
    answer = convert(labeled(line, (0, 1, 1, 5, 5)))
    assert answer["converted"] == 1
    assert records(storage, answer["record_key"])[0]["flight"] == "f"


def test_a_batch_converted_twice_leaves_the_same(storage, dropped, convert):
    lines = [labeled(dropped(f"raw-images/f/{n}.jpg", encoded(picture(seed=n))), (0, 1, 1, 5, 5)) for n in range(2)]
    first = convert(*lines, "text")
    before = {summary.key: storage.read(summary.key).body for summary in storage.listing("")}
    assert convert(*lines, "text") == first
    assert {summary.key: storage.read(summary.key).body for summary in storage.listing("")} == before


def test_a_picture_that_intake_looked_at_is_copied_unread(storage, catalogue, dropped, convert, monkeypatch):
    body = encoded(picture(1500, 900), "PNG")
    key = "raw-images/f/1.png"
    line = dropped(key, body)
    item = catalogue.get(line["image-id"])
    catalogue.delete(item.image_id)
    facts = check_image(body).plain() | {"etag": storage.summary(key).etag}
    catalogue.add(item.model_copy(update=facts))
    read, calls = Storage.read, []
    monkeypatch.setattr(Storage, "read", lambda self, key, **limit: calls.append(key) or read(self, key, **limit))
    answered = labeled(line, (0, 1200, 100, 20, 20))
    del answered["boxes"]["image_size"]
    answer = convert(answered)
    assert key not in calls
    (record,) = records(storage, answer["record_key"])
    assert (record["width"], record["height"]) == (1500, 900)
    assert read(storage, record["key"]).body == body


def test_labels_that_were_safe_stay_when_the_raw_picture_is_gone(storage, catalogue, dropped, convert):
    body = encoded(picture(seed=1))
    line = dropped("raw-images/f/1.jpg", body)
    item = catalogue.get(line["image-id"])
    catalogue.delete(item.image_id)
    facts = check_image(body).plain() | {"etag": storage.summary("raw-images/f/1.jpg").etag}
    catalogue.add(item.model_copy(update=facts))
    first = convert(labeled(line, (0, 1, 1, 5, 5)))
    storage.write("raw-images/f/1.jpg", encoded(picture(seed=2)))
    assert convert(labeled(line, (0, 1, 1, 5, 5))) == first
    storage.client.delete_object(Bucket=BUCKET, Key="raw-images/f/1.jpg")
    assert convert(labeled(line, (0, 1, 1, 5, 5))) == first
    assert len(records(storage, first["record_key"])) == 1


def test_labels_of_a_turned_picture_are_of_the_upright_one(storage, dropped, convert):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation.value] = 6
    body = encoded(picture(64, 48), exif=exif)
    answer = convert(labeled(dropped("raw-images/f/1.jpg", body), (0, 8, 12, 16, 24)))
    (record,) = records(storage, answer["record_key"])
    assert (record["width"], record["height"]) == (48, 64)
    assert record["boxes"] == [["car", 48 - 12 - 24, 8, 24, 16]]
    assert storage.read(record["key"]).body == body  # whoever reads it turns it, as all of Skyloop does


def test_an_empty_batch(storage, convert):
    answer = convert()
    assert (answer["converted"], answer["quarantined"]) == (0, 0)
    assert records(storage, answer["record_key"]) == []


def test_a_line_of_any_length_is_converted_and_a_line_that_is_no_json_is_put_aside(
    storage, catalogue, dropped, convert
):
    crowded = dropped("raw-images/f/1.jpg", encoded(picture(seed=1)))
    other = dropped("raw-images/f/2.jpg", encoded(picture(seed=2)))
    boxes = [(0, number % 60, number % 40, 4, 4) for number in range(5000)]
    answer = convert(labeled(crowded, *boxes), '{"source-ref": ', labeled(other, (0, 8, 12, 16, 24)))
    assert (answer["converted"], answer["boxes"], answer["quarantined"]) == (2, 5001, 1)
    (put_aside,) = [one.key for one in storage.listing(f"quarantine/labels/{JOB}/")]
    assert storage.read_json(put_aside)["line"] == '{"source-ref": '


@pytest.mark.parametrize("parts", [1, 2, 3, 7])
def test_every_line_is_in_one_part(dropped, convert, parts):
    lines = [labeled(dropped(f"raw-images/f/{n}.jpg", encoded(picture(seed=n))), (0, 8, 12, 16, 24)) for n in range(4)]
    answers = [convert(*lines, part=part, parts=parts) for part in range(parts)]
    assert [sum(answer[name] for answer in answers) for name in ("converted", "boxes", "quarantined")] == [4, 4, 0]
