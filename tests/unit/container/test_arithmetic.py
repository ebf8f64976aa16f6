"""The choice of number format by trial."""

import pytest
import torch
from skyloop_container import arithmetic


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


@pytest.mark.parametrize(("bf16", "fp32", "pays"), [(1.0, 2.0, True), (2.0, 1.0, False)])
def test_the_cheaper_format_trains(monkeypatch, model, bf16, fp32, pays):
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: True)
    monkeypatch.setattr(arithmetic, "_step_seconds", lambda *_, **given: bf16 if given["bf16"] else fp32)
    assert arithmetic.bf16_pays(model, 64, 2) is pays


def test_a_cpu_without_bfloat16_is_not_tried(monkeypatch, model):
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: False)
    monkeypatch.setattr(arithmetic, "_step_seconds", lambda *_, **__: pytest.fail("tried"))
    assert not arithmetic.bf16_pays(model, 64, 2)


def test_trials_leave_the_model_as_it_was(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    for bf16 in (False, True):
        assert arithmetic._step_seconds(model, 16, 2, bf16=bf16) > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
