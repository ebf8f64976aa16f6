"""What samconfig.toml's section for the laptop says of a deployment."""

from __future__ import annotations

from pathlib import Path

import pytest

from laptop import deploy

APPLICATION = deploy.Application({"Parameters": {"Stage": {}, "Epochs": {}}}, Path())


@pytest.mark.parametrize(
    "lines",
    [
        'parameter_overrides = ["Stage=dev", "Epochs=5"]\ntags = ["Project=sky loop", "Stage=dev"]',
        'parameter_overrides = "Stage=dev Epochs=5"\ntags = "Project=\'sky loop\' Stage=dev"',
    ],
)
def test_parameters_and_tags_are_read_in_both_forms_that_sam_takes(tmp_path: Path, lines: str) -> None:
    samconfig = tmp_path / "samconfig.toml"
    samconfig.write_text(f'[laptop.global.parameters]\nstack_name = "mine"\n[laptop.deploy.parameters]\n{lines}\n')
    read = deploy.configuration(samconfig, APPLICATION, {"Epochs": "1"})
    assert read == deploy.Configuration(
        "mine", {"Stage": "dev", "Epochs": "1"}, {"Project": "sky loop", "Stage": "dev"}
    )


def test_without_a_samconfig_there_are_no_tags(tmp_path: Path) -> None:
    assert deploy.configuration(tmp_path / "none.toml", APPLICATION, {}) == deploy.Configuration("skyloop-dev", {}, {})
