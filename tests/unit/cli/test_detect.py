from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.response import StreamingBody
from botocore.stub import ANY, Stubber
from PIL import Image
from skyloop.documents import Detection
from skyloop.formats import pictures

from cli import detect, drawing
from cli.cloud import Cloud

Picture = Callable[..., Path]
TREE = {"category": "tree", "category_id": 0, "confidence": 0.9, "left": 100, "top": 100, "width": 90, "height": 80}


def answer(width: int, height: int, *detections: dict[str, Any]) -> dict[str, Any]:
    document = {
        "image": {"width": width, "height": height},
        "detections": [{**item, "unknown_field": 1} for item in detections],
        "profile": {},
        "model": {"training_job": "j", "dataset_id": "d"},
    }
    body = json.dumps(document).encode()
    return {"Body": StreamingBody(io.BytesIO(body), len(body)), "InvokedProductionVariant": "primary"}


@pytest.fixture
def endpoint(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Stubber:
    """The runtime client that every command of this test gets."""
    client = cloud.client("sagemaker-runtime")
    stubber = Stubber(client)
    stubber.activate()
    real = Cloud.client
    monkeypatch.setattr(
        Cloud, "client", lambda self, service: client if service == "sagemaker-runtime" else real(self, service)
    )
    return stubber


def test_bytes_go_as_they_are_and_boxes_are_drawn(invoke, endpoint: Stubber, tmp_path: Path, picture: Picture) -> None:
    source = picture(tmp_path / "1.jpg", size=(320, 240))
    sent = source.read_bytes()
    expected = {
        "EndpointName": "skyloop-dev",
        "ContentType": "image/jpeg",
        "Accept": "application/json",
        "Body": sent,
        "CustomAttributes": "confidence=0.3",
    }
    endpoint.add_response("invoke_endpoint", answer(320, 240, TREE), expected)
    result = invoke("detect", source, "--out", tmp_path / "out", "--confidence", "0.3")
    assert result.exit_code == 0, result.stderr
    assert "tree" in result.stdout
    assert "0.90" in result.stdout
    drawn = Image.open(tmp_path / "out" / "1-detections.jpg")
    assert drawn.size == (320, 240)
    assert source.read_bytes() == sent
    yellow = drawn.getpixel((150, 180))
    assert yellow[0] > 150 > yellow[2], f"the lower edge of the box is {yellow}"


def test_a_folder_is_many_images_and_one_bad_one_stops_nothing(
    invoke, endpoint: Stubber, tmp_path: Path, picture: Picture
) -> None:
    picture(tmp_path / "f" / "a.jpg", size=(320, 240))
    (tmp_path / "f" / "b.jpg").write_text("no image")
    picture(tmp_path / "f" / "sub" / "a.jpg", 9, size=(320, 240))
    endpoint.add_response("invoke_endpoint", answer(320, 240, TREE, TREE), None)
    endpoint.add_client_error("invoke_endpoint", "ModelError", "Received client error (400)", expected_params=None)
    endpoint.add_response("invoke_endpoint", answer(320, 240), None)
    result = invoke("detect", tmp_path / "f", "--out", tmp_path / "out", "--json")
    assert result.exit_code == 1
    documents = json.loads(result.stdout)
    assert [len(item["detections"]) for item in documents] == [2, 0]
    assert "1 of 3 images got no answer" in result.stderr
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["a-2-detections.jpg", "a-detections.jpg"]


def test_a_folder_is_searched_as_a_drop_is(invoke, endpoint: Stubber, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "1.jpg")
    picture(tmp_path / "f" / "._1.jpg")
    picture(tmp_path / "f" / "@eaDir" / "1.jpg" / "SYNOPHOTO_THUMB_XL.jpg")
    endpoint.add_response("invoke_endpoint", answer(32, 24), None)
    result = invoke("detect", tmp_path / "f", "--no-pictures", "--json")
    assert result.exit_code == 0, result.stderr
    assert [item["image"] for item in json.loads(result.stdout)] == [str(tmp_path / "f" / "1.jpg")]
    assert "by-products of other programs: 2 (._*, @eaDir)." in result.stderr


def test_a_file_that_cannot_be_read_stops_no_other(invoke, endpoint: Stubber, tmp_path: Path, picture: Picture) -> None:
    picture(tmp_path / "f" / "b.jpg")
    (tmp_path / "f" / "a.jpg").symlink_to(tmp_path / "nowhere")
    endpoint.add_response("invoke_endpoint", answer(32, 24), None)
    result = invoke("detect", tmp_path / "f", "--no-pictures", "--json")
    assert result.exit_code == 1
    assert [item["image"] for item in json.loads(result.stdout)] == [str(tmp_path / "f" / "b.jpg")]
    assert "a.jpg cannot be read" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("code", "message", "status", "says"),
    [
        ("ValidationError", "Endpoint skyloop-dev of account 1 not found.", None, "no endpoint skyloop-dev yet"),
        ("ModelError", "Received client error (400) from primary", 400, "The model refuses"),
        ("ModelError", "Received client error (429) from primary", 429, "has no time for"),
        ("ModelError", "Received client error (408) from primary", 408, "has no time for"),
        ("ModelError", "Received server error (503) from primary", 503, "The model failed on"),
        ("ModelError", "Received server error (500) from primary", 500, "The model failed on"),
        ("ModelError", "Received server error (0) from primary", 0, "The model failed on"),
        ("ServiceUnavailable", "busy", None, "cannot answer (ServiceUnavailable)"),
    ],
)
def test_refusals(
    invoke,
    endpoint: Stubber,
    tmp_path: Path,
    picture: Picture,
    code: str,
    message: str,
    status: int | None,
    says: str,
) -> None:
    modeled = {} if status is None else {"OriginalStatusCode": status}
    endpoint.add_client_error("invoke_endpoint", code, message, modeled_fields=modeled, expected_params=None)
    result = invoke("detect", picture(tmp_path / "1.jpg"), "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert says in " ".join(result.stderr.split())
    assert "next" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("body", "reason", "then"),
    [
        ("The body cannot be used (truncated): the JPEG ends", "the JPEG ends", "export the file again"),
        ("The body cannot be used (too-many-pixels): 9 × 9: cut it", "9 × 9: cut it", "Do as is said above"),
        ("The body cannot be used (not-an-image): it is text", "it is text", "Is it an image?"),
        ("The attribute confidence must be in 0..1", "The attribute confidence must be in 0..1", "Correct what"),
        (None, "no", "Is it an image?"),
        (["list"], '{"error": ["list"]}', "Is it an image?"),
    ],
)
def test_a_refusal_is_told_as_a_sentence_with_what_helps(
    invoke, endpoint: Stubber, tmp_path: Path, picture: Picture, body: Any, reason: str, then: str
) -> None:
    said = "no" if body is None else json.dumps({"error": body})
    modeled = {"OriginalStatusCode": 400, "OriginalMessage": said}
    endpoint.add_client_error("invoke_endpoint", "ModelError", "Received 400", modeled_fields=modeled)
    result = invoke("detect", picture(tmp_path / "1.jpg"), "--json")
    told = json.loads(result.stderr)
    assert told["error"].endswith(f"1.jpg: {reason}")
    assert then in told["next_step"]


def test_every_refusal_of_a_picture_has_a_next_step() -> None:
    folder = Path(pictures.__file__).parent
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("pi*.py"))
    codes = set(re.findall(r'ImageRefused\(\s*"([a-z-]+)"', text)) | set(re.findall(r'code = "([a-z-]+)"', text))
    assert {"truncated", "too-many-pixels", "unsupported-format"} <= codes
    assert codes <= {*detect._NEXT_STEPS, "not-an-image", "too-large"}


def test_larger_than_an_endpoint_takes(invoke, endpoint: Stubber, tmp_path: Path) -> None:
    (tmp_path / "big.jpg").write_bytes(bytes(detect.MAX_BODY_BYTES + 1))
    result = invoke("detect", tmp_path / "big.jpg")
    assert result.exit_code == 1
    assert "25 MB" in result.stderr


@pytest.mark.parametrize("given", ["none.jpg", ""])
def test_nothing_to_look_at(invoke, endpoint: Stubber, tmp_path: Path, given: str) -> None:
    assert invoke("detect", tmp_path / given).exit_code == 1


def test_the_content_type_comes_from_the_bytes_and_not_from_the_name(
    invoke, endpoint: Stubber, tmp_path: Path, picture: Picture
) -> None:
    (tmp_path / "text.jpg").write_text("no image")
    expected = {"EndpointName": ANY, "ContentType": "image/*", "Accept": ANY, "Body": ANY}
    endpoint.add_client_error("invoke_endpoint", "ModelError", "not an image", expected_params=expected)
    said = " ".join(invoke("detect", tmp_path / "text.jpg").stderr.split())
    assert "The model refuses" in said
    assert "JPEG, PNG, WebP, BMP and TIFF" in said


def test_a_response_that_is_not_a_detectors(invoke, endpoint: Stubber, tmp_path: Path, picture: Picture) -> None:
    body = b'{"predictions": []}'
    endpoint.add_response("invoke_endpoint", {"Body": StreamingBody(io.BytesIO(body), len(body))}, None)
    result = invoke("detect", picture(tmp_path / "1.jpg"), "--out", tmp_path / "out")
    assert result.exit_code == 1
    assert "does not understand" in result.stderr
    assert "skyloop status" in result.stderr


def test_orientation_is_applied_before_drawing(tmp_path: Path) -> None:
    image = Image.new("RGB", (60, 40))
    exif = image.getexif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert detect.upright((tmp_path / "turned.jpg").read_bytes()).size == (40, 60)


@pytest.mark.parametrize("size", [(20, 20), (4000, 3000)])
def test_drawing_stays_inside_and_leaves_the_image_alone(size: tuple[int, int]) -> None:
    image = Image.new("RGB", size)
    name = "a rather long category name"
    large = Detection(
        category=name, category_id=11, confidence=0.5, left=-5, top=-5, width=size[0] + 10, height=size[1] + 10
    )
    small = Detection(category="x", category_id=0, confidence=0.1, left=size[0] - 2, top=size[1] - 2, width=1, height=1)
    drawn = drawing.draw_detections(image, [large, small])
    assert drawn.size == size
    assert image.getextrema() == ((0, 0),) * 3
    assert drawn.getextrema() != image.getextrema()


def boxes_of(side: int, apart: int, count: int = 9) -> list[Detection]:
    """Boxes of one row, far from the corners of a frame of 1600 × 1200 pixels."""
    return [
        Detection(
            category="Bicycle",
            category_id=2,
            confidence=0.77,
            left=200 + number * apart,
            top=600,
            width=side,
            height=side,
        )
        for number in range(count)
    ]


def hidden(drawn: Image.Image, boxes: list[Detection]) -> int:
    """Pixels in boxes that are not the black of the image."""
    return sum(
        drawn.crop((round(b.left), round(b.top), round(b.left + b.width), round(b.top + b.height)))
        .convert("L")
        .point(lambda value: 255 * (value > 0))
        .histogram()[255]
        for b in boxes
    )


def painted(drawn: Image.Image, where: tuple[int, int, int, int]) -> bool:
    return drawn.crop(where).getbbox() is not None


ABOVE, CORNER = (150, 560, 1400, 590), (0, 0, 150, 30)


@pytest.mark.parametrize(("side", "apart"), [(12, 40), (12, 14), (90, 130), (90, 92)])
def test_no_outline_and_no_caption_hides_what_was_detected(side: int, apart: int) -> None:
    boxes = boxes_of(side, apart)
    drawn = drawing.draw_detections(Image.new("RGB", (1600, 1200)), boxes)
    # Beside each other, outlines lie a line wide in their neighbors.
    assert hidden(drawn, boxes) <= (0 if apart > side + 10 else len(boxes) * 2 * 4 * side)


def test_captions_are_where_there_is_room_else_a_legend_is() -> None:
    def drawn(side: int, captions: bool | None) -> tuple[bool, bool]:
        picture = drawing.draw_detections(Image.new("RGB", (1600, 1200)), boxes_of(side, 2 * side, 4), captions)
        return painted(picture, ABOVE), painted(picture, CORNER)

    assert drawn(12, None) == (False, True)
    assert drawn(120, None) == (True, False)
    assert drawn(120, False) == (False, True)
    assert drawn(12, True) == (True, False)


def test_the_legend_takes_the_emptiest_corner_and_no_more_than_there_is() -> None:
    boxes = [
        Detection(category=f"kind {n}", category_id=n, confidence=0.5, left=15 * n, top=3, width=6, height=6)
        for n in range(60)
    ]
    assert drawing.draw_detections(Image.new("RGB", (1200, 300)), boxes).size == (1200, 300)
    drawn = drawing.draw_detections(Image.new("RGB", (1200, 900)), boxes[:3])
    assert painted(drawn, (1100, 0, 1200, 30))
    assert not painted(drawn, (100, 0, 1100, 30))


def test_the_request_that_is_sent_is_one_that_sagemaker_takes(cloud: Cloud, tmp_path: Path, picture: Picture) -> None:
    client = cloud.client("sagemaker-runtime")
    with Stubber(client) as stubber:
        stubber.add_response(
            "invoke_endpoint",
            answer(32, 24),
            {"EndpointName": ANY, "ContentType": ANY, "Accept": ANY, "Body": ANY, "CustomAttributes": "confidence=0.5"},
        )
        found = detect.detect_image(cloud, picture(tmp_path / "1.jpg"), 0.5)
    assert (found.width, found.height, found.detections) == (32, 24, ())
