# make: everything a change has to pass; it changes no file
# make fix: format, and mend what lint can
PYTHON ?= .venv/bin/python
SHARED ?= ../shared

.PHONY: check lint fix test docs dist golden digits programs targets bench fuzz

check: lint test

lint:
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy

fix:
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .

test:
	$(PYTHON) -m pytest -q

docs:
	$(PYTHON) -m sphinx -E -W --keep-going -q docs docs/_build
	@echo docs/_build/index.html

dist:
	rm -rf dist
	$(PYTHON) -m validate_pyproject pyproject.toml
	$(dir $(PYTHON))cffconvert --validate
	$(PYTHON) -m pre_commit validate-manifest .pre-commit-hooks.yaml
	$(PYTHON) -m build -q
	$(PYTHON) -m twine check --strict dist/*
	$(PYTHON) tools/check_dist.py dist

golden:
	$(PYTHON) tools/make_fixtures.py tiny
	$(PYTHON) tools/make_fixtures.py copy $(SHARED)/golden

digits:
	$(PYTHON) tools/train_digits.py

programs:
	$(PYTHON) tools/record_opencv.py

fuzz:
	$(PYTHON) tools/fuzz.py --cases 20000

targets:
	$(PYTHON) tools/measure_targets.py $(SHARED)

bench:
	$(PYTHON) tools/bench.py all $(SHARED)
	$(PYTHON) tools/bench.py fold $(SHARED)/cfg/pjreddie/yolov3.cfg
	$(PYTHON) tools/bench.py threads $(SHARED)/models/yolov3-tiny/yolov3-tiny.cfg $(SHARED)/models/yolov3-tiny/yolov3-tiny.weights
	$(PYTHON) tools/bench.py engines $(SHARED)/models/yolov3-tiny/yolov3-tiny.cfg $(SHARED)/models/yolov3-tiny/yolov3-tiny.weights
	$(PYTHON) tools/bench_start.py
