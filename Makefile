# Two commands: `make demo` plays a day in the life, `make test` checks everything. Both set up what they need.
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-fast lint bench clean

ready := .venv/.ready
ready_test := .venv/.ready-test
pins := requirements.txt constraints.txt layers/dependencies/requirements.txt training_container/requirements.txt scripts/setup-venv.sh

help: ## This list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 14

$(ready): $(pins)
	@scripts/setup-venv.sh requirements.txt
	@touch $@

$(ready_test): $(pins) requirements-test.txt scripts/setup-tools.sh
	@scripts/setup-venv.sh requirements-test.txt
	@scripts/setup-tools.sh
	@touch $(ready) $@

setup: $(ready_test) ## The environment alone: .venv with the `skyloop` command, and the checkers' tools

demo: $(ready) ## A day in the life on real airborne images, on the laptop cloud
	@.venv/bin/python -m demo $(DEMO_ARGS)

test: $(ready_test) ## Everything: unit, infra, conformance, then the whole loop
	.venv/bin/ruff check .
	.venv/bin/python -m pytest -q -n 2 --dist loadgroup -m "not loop"
	.venv/bin/python -m pytest -q -m loop

test-fast: $(ready_test) ## The unit tests alone
	.venv/bin/python -m pytest -q -n 2 --dist loadgroup tests/unit training_container/tests

lint: $(ready_test) ## Style
	.venv/bin/ruff check .

# Not drift.py, which needs images of its own, nor footprint.py, which measures a command you give it.
benches := training_container.bench.training training_container.bench.warm_start training_container.bench.inference \
	bench.serving bench.retrain_overhead
bench: export PYTHONPATH = training_container
bench: export OMP_WAIT_POLICY = PASSIVE
bench: $(ready_test) ## Figures, measured again: training, inference, serving, orchestration
	@for name in $(benches); do echo "== $$name"; .venv/bin/python -m "$$name" || exit 1; done

clean: ## Forget environments, caches and the laptop cloud's state
	rm -rf .venv .venv-sam node_modules .aws-sam .skyloop .cache
