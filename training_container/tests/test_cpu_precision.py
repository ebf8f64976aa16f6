"""The choice of number format and threads by trial."""

import pytest
import torch
from skyloop_container import cpu_precision
from skyloop_container.cpu_precision import CpuMode


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


@pytest.mark.parametrize("best", [CpuMode(bf16, threads) for bf16 in (False, True) for threads in (1, 4)])
@pytest.mark.usefixtures("four_threads")
def test_the_fastest_of_all_modes_trains(monkeypatch, model, best):
    monkeypatch.setattr(cpu_precision, "has_bf16", lambda: True)
    seconds = {best: 1.0}
    monkeypatch.setattr(cpu_precision, "_step_seconds", lambda _model, _size, _batch, mode: seconds.get(mode, 2.0))
    assert cpu_precision.autotune(model, 64, 2) == best


def test_a_cpu_without_bfloat16_is_not_tried_in_it(monkeypatch, model, four_threads):
    monkeypatch.setattr(cpu_precision, "has_bf16", lambda: False)
    assert not cpu_precision.autotune(model, 16, 2).bf16
    assert four_threads == [1, 4, 4], "each mode, then as it was"


@pytest.mark.parametrize("bf16", [False, True])
def test_trials_leave_the_model_as_it_was(model, bf16):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert cpu_precision._step_seconds(model, 16, 2, CpuMode(bf16, torch.get_num_threads())) > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
