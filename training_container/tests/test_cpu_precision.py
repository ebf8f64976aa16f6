"""The choice of number format and threads by trial."""

import itertools
import time

import pytest
import torch
from skyloop_container import cpu_precision
from skyloop_container.cpu_precision import ENOUGH_ROUNDS, MORE_THREADS, OTHER_FORMAT, ROUNDS, CpuMode


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


class Machine:
    """A clock that the steps of each mode move on, by so many seconds; then by the others in a list, if it is one."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: dict[CpuMode, float | list[float]]) -> None:
        self.now, self.steps = 0.0, []
        self._seconds = {
            mode: itertools.repeat(value) if isinstance(value, float) else itertools.cycle(value)
            for mode, value in seconds.items()
        }
        monkeypatch.setattr(cpu_precision, "_stepper", lambda _model, _size, _batch, mode: lambda: self._step(mode))
        monkeypatch.setattr(cpu_precision, "has_bf16", lambda: any(mode.bf16 for mode in seconds))
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def _step(self, mode: CpuMode) -> None:
        self.now += next(self._seconds[mode])
        self.steps.append(mode)


PLAIN, BF16 = CpuMode(bf16=False, threads=1), CpuMode(bf16=True, threads=1)
PLAIN_4, BF16_4 = CpuMode(bf16=False, threads=4), CpuMode(bf16=True, threads=4)


@pytest.mark.parametrize(
    ("seconds", "chosen"),
    [
        ({PLAIN: 0.1, BF16: 0.04, PLAIN_4: 0.01, BF16_4: 0.02}, BF16_4),
        ({PLAIN: 0.1, BF16: 0.3, PLAIN_4: 0.04, BF16_4: 0.2}, PLAIN_4),
        ({PLAIN: 0.1, BF16: 0.04, BF16_4: 0.04}, BF16),
        ({PLAIN: 0.1, BF16: 0.1 / OTHER_FORMAT * 1.01, PLAIN_4: 0.1}, PLAIN),
        ({PLAIN: 0.1, PLAIN_4: 0.1 / MORE_THREADS * 1.01}, PLAIN),
        ({PLAIN: 0.1, PLAIN_4: 0.1 / MORE_THREADS * 0.99}, PLAIN_4),
    ],
)
@pytest.mark.usefixtures("four_threads")
def test_the_plainer_mode_stays_unless_the_other_is_clearly_faster(monkeypatch, model, seconds, chosen):
    Machine(monkeypatch, seconds)
    assert cpu_precision.autotune(model, 64, 2) == chosen


@pytest.mark.usefixtures("four_threads")
def test_the_choice_is_the_same_however_the_machine_is_disturbed(monkeypatch, model):
    """Four threads are a fifth faster, which is not worth it; any step but one of each mode may be slowed down."""
    for one, other in itertools.product(itertools.permutations([0.10, 0.25, 0.13]), repeat=2):
        Machine(monkeypatch, {PLAIN: list(one), PLAIN_4: [value / 1.2 for value in other]})
        assert cpu_precision.autotune(model, 64, 2) == PLAIN, (one, other)


@pytest.mark.usefixtures("four_threads")
def test_a_plain_difference_and_a_slow_machine_are_not_measured_thrice(monkeypatch, model):
    trial = Machine(monkeypatch, {PLAIN: 0.3, PLAIN_4: 0.1})
    assert cpu_precision.autotune(model, 64, 2) == PLAIN_4
    assert trial.steps == [PLAIN, PLAIN_4] * ENOUGH_ROUNDS
    trial = Machine(monkeypatch, {PLAIN: 3.0, PLAIN_4: 2.9})
    cpu_precision.autotune(model, 64, 2)
    assert trial.steps == [PLAIN, PLAIN_4]
    trial = Machine(monkeypatch, {PLAIN: 0.1, PLAIN_4: 0.09})
    cpu_precision.autotune(model, 64, 2)
    assert trial.steps == [PLAIN, PLAIN_4] * ROUNDS


def test_threads_are_as_they_were_after_the_trial(monkeypatch, model, four_threads):
    monkeypatch.setattr(cpu_precision, "has_bf16", lambda: False)
    assert not cpu_precision.autotune(model, 16, 2).bf16
    assert set(four_threads[:-1]) == {1, 4}
    assert four_threads[-1] == 4


@pytest.mark.parametrize("bf16", [False, True])
def test_trials_leave_the_model_as_it_was(model, bf16):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cpu_precision._stepper(model, 16, 2, CpuMode(bf16, torch.get_num_threads()))()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
