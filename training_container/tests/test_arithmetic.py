"""The choice of number format and threads by trial."""

import pytest
import torch
from skyloop_container import arithmetic
from skyloop_container.arithmetic import Arithmetic


@pytest.fixture
def model() -> torch.nn.Module:
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


@pytest.fixture
def four_threads(monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 4)
    chosen = []
    monkeypatch.setattr(torch, "set_num_threads", chosen.append)
    return chosen


@pytest.mark.parametrize("best", [Arithmetic(bf16, threads) for bf16 in (False, True) for threads in (1, 4)])
@pytest.mark.usefixtures("four_threads")
def test_the_fastest_of_all_trains(monkeypatch, model, best):
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: True)
    monkeypatch.setattr(arithmetic, "_step_seconds", lambda _model, _size, _batch, tried: 1.0 if tried == best else 2.0)
    assert arithmetic.fastest(model, 64, 2) == best


def test_a_cpu_without_bfloat16_is_not_tried_in_it(monkeypatch, model, four_threads):
    monkeypatch.setattr(arithmetic, "has_bf16", lambda: False)
    assert not arithmetic.fastest(model, 16, 2).bf16
    assert four_threads == [1, 4, 4], "each variant, then as it was"


@pytest.mark.parametrize("bf16", [False, True])
def test_trials_leave_the_model_as_it_was(model, bf16):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert arithmetic._step_seconds(model, 16, 2, Arithmetic(bf16, torch.get_num_threads())) > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
