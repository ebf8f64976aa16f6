# Two commands: `make demo` plays a day in the life, `make test` checks everything. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast test-conformance test-faults fuzz lint format types bench clean

ready := .venv/.ready
ready_dev := .venv/.ready-dev
pins := pyproject.toml constraints.txt training_container/requirements.txt training_container/requirements-serving.txt \
	scripts/setup-venv.sh scripts/pip-install.sh scripts/uv_pip.py
pytest := .venv/bin/python -m pytest -q
two_at_a_time := -n 2 --dist loadgroup

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-20s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(ready): $(pins)
	@scripts/setup-venv.sh
	@touch $@

$(ready_dev): $(pins) requirements-sam.txt package-lock.json scripts/setup-tools.sh
	@scripts/setup-venv.sh test lint
	@scripts/setup-tools.sh
	@touch $(ready) $@

setup: $(ready_dev) ## The environment alone: .venv with the `skyloop` command, and the tools that check it

demo: $(ready) ## A day in the life on real airborne images, on the laptop cloud
	@.venv/bin/python -m demo $(DEMO_ARGS)

test: lint ## Everything: style, types and borders, unit, infra, conformance, then the whole loop
	$(pytest) $(two_at_a_time) -m "not loop and not faults"
	$(pytest) $(two_at_a_time) -m loop

test-fast: $(ready_dev) ## The unit tests alone
	$(pytest) $(two_at_a_time) tests/unit training_container/tests

test-conformance: $(ready_dev) ## Whether the laptop cloud does as AWS does
	$(pytest) $(two_at_a_time) tests/conformance

test-faults: $(ready_dev) ## Every call fails once, processes die, the disk is full, versions misbehave; two hours
	$(pytest) -n 4 --dist loadgroup -m faults --ignore tests/faults/test_deployments.py  # two leave the processor idle at times
	$(pytest) -m faults tests/faults/test_deployments.py  # alone: it measures what the endpoint can do

SECONDS := 300
fuzz: export PYTHONPATH = $(CURDIR):$(CURDIR)/layers/skyloop/python:$(CURDIR)/training_container
fuzz: $(ready_dev) ## Mutated input through every reader: SECONDS=300 for each part, SEED=N for the same again
	.venv/bin/python -m tests.fuzz.campaign --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))
	.venv/bin/python -m training_container.tests.fuzz_requests --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

# An exported PYTHONPATH may hold training_container/: import-linter would take its `tests` and `bench` for ours.
lint: export PYTHONPATH =
lint: $(ready_dev) ## Style, who imports whom, and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports
	.venv/bin/mypy

types: $(ready_dev) ## Types alone
	.venv/bin/mypy

format: $(ready_dev) ## Lay the code out as `make lint` wants it
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

# Not drift.py, which needs images of its own, nor footprint.py, which measures a command you give it.
benches := training_container.bench.training training_container.bench.warm_start training_container.bench.inference \
	bench.serving bench.retrain_overhead bench.sweep bench.status bench.conversion bench.assembly
bench: export PYTHONPATH = training_container
bench: export OMP_WAIT_POLICY = PASSIVE
bench: $(ready_dev) ## Figures, measured again: training, inference, serving, orchestration, scale
	@for name in $(benches); do echo "== $$name"; .venv/bin/python -m "$$name" || exit 1; done

clean: ## Forget environments, caches and the laptop cloud's state
	rm -rf .venv .venv-sam node_modules .aws-sam .skyloop .skyloop-demo .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis \
		.import_linter_cache skyloop.egg-info
