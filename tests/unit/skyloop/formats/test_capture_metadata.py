"""skyloop.formats.images: when and where was this picture taken?"""

from __future__ import annotations

import struct

import pytest
from PIL import ExifTags, Image
from skyloop.formats.images import check_image

from tests.support.pictures import encoded, picture


@pytest.mark.parametrize(
    ("taken", "offset", "expected"),
    [
        ("2026:05:06 07:08:09", "+02:00", "2026-05-06T07:08:09+02:00"),
        ("2026:05:06 07:08:09", None, "2026-05-06T07:08:09"),
        ("2026:05:06 07:08:09", "about noon", "2026-05-06T07:08:09"),
        ("0000:00:00 00:00:00", None, None),
        ("yesterday", None, None),
    ],
)
def test_capture_time(taken, offset, expected):
    exif = Image.Exif()
    details = {ExifTags.Base.DateTimeOriginal: taken}
    if offset:
        details[ExifTags.Base.OffsetTimeOriginal] = offset
    exif.get_ifd(ExifTags.IFD.Exif).update(details)
    assert check_image(encoded(picture(), exif=exif)).captured_at == expected


@pytest.mark.parametrize(
    ("latitude", "longitude", "expected"),
    [
        (("N", (47.0, 30.0, 36.0)), ("E", (8.0, 15.0, 0.0)), (47.51, 8.25)),
        (("S", (33.0, 0.0, 0.0)), ("W", (70.0, 30.0, 0.0)), (-33.0, -70.5)),
        (("N", (0.0, 0.0, 0.0)), ("E", (0.0, 0.0, 0.0)), (None, None)),
        (("N", (95.0, 0.0, 0.0)), ("E", (8.0, 0.0, 0.0)), (None, None)),
    ],
)
def test_position(latitude, longitude, expected):
    exif = Image.Exif()
    exif.get_ifd(ExifTags.IFD.GPSInfo).update(
        {
            ExifTags.GPS.GPSLatitudeRef: latitude[0],
            ExifTags.GPS.GPSLatitude: latitude[1],
            ExifTags.GPS.GPSLongitudeRef: longitude[0],
            ExifTags.GPS.GPSLongitude: longitude[1],
        }
    )
    facts = check_image(encoded(picture(), exif=exif))
    assert (facts.latitude, facts.longitude) == expected


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_broken_exif_is_no_reason_to_refuse():
    body = encoded(picture())
    rubbish = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + bytes(range(200))
    segment = b"\xff\xe1" + struct.pack(">H", len(rubbish) + 2) + rubbish
    assert check_image(body[:2] + segment + body[2:]).orientation == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2023:05:15 10:33:44.123", "2023-05-15T10:33:44"),
        ("2023-05-15 10:33:44", "2023-05-15T10:33:44"),
        ("2023/05/15 10:33:44", "2023-05-15T10:33:44"),
        ("2015:02:01 14:42:59+01:00", "2015-02-01T14:42:59+01:00"),
        ("2025:01:14 18:31:30+0000", "2025-01-14T18:31:30+00:00"),
        ("2025:01:14 18:31:30Z", "2025-01-14T18:31:30+00:00"),
        ("2023:5:15 1:3:4", "2023-05-15T01:03:04"),
        ("2023:05:15  9:03:04", "2023-05-15T09:03:04"),
        ("2016:01:26 24:48:30", "2016-01-27T00:48:30"),
        ("2023:05:15 10:33:60", "2023-05-15T10:34:00"),
        # Unreadable, or of a clock that was never set: the file's own time is there all the same.
        ("0000:00:00 00:00:00", "2023-05-15T10:33:50"),
        ("0001:01:01 00:00:00", "2023-05-15T10:33:50"),
        ("    :  :     :  :  ", "2023-05-15T10:33:50"),
        ("2023:05:15", "2023-05-15T10:33:50"),
        ("2023:05:15 10:33", "2023-05-15T10:33:50"),
        ("2023:02:30 10:33:44", "2023-05-15T10:33:50"),
    ],
)
def test_times_as_cameras_and_editors_write_them(text, expected):
    exif = Image.Exif()
    exif[ExifTags.Base.DateTime.value] = "2023:05:15 10:33:50"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = text
    assert check_image(encoded(picture(), exif=exif)).captured_at == expected
