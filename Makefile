# Two commands, from a fresh clone and as often as you like: `make prune` and `make test`.
# They need Python 3.11 or newer, and no compiler.
PYTHON ?= python3
OUT ?= out/digits-mlp-refit
READY := .venv/ready

.PHONY: prune test

prune: $(READY)
	rm -rf "$(OUT)"
	.venv/bin/actprune prune --recipe recipes/digits-mlp-refit.yaml -o "$(OUT)"
	@echo "Open $(OUT)/report.html"

test: $(READY)
	OMP_NUM_THREADS=1 .venv/bin/python -m pytest -q -n 2

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $(READY)
