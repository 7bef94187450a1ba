# make quickstart   from a fresh clone to videos that obey their prompts, on any machine
# make shapes       the same for Moving Shapes, on two CPU cores, in an hour
# make video-demo   from a folder of odd video files to a report, with a few minutes of training
# make test         the tests that take minutes; make test-system: whole commands, longer
# make check        formatting, lint, types
# make docs         the documentation as a site, in build/site, with every link checked
# make gpu-check PART=1   (then PART=2) tests, step profiles and training on the GPU that is here
# make gpu-wheels   packages to carry to a machine with a GPU and without a network

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PRESET ?= quickstart
SCENE ?= circles
RUN_DIR ?= runs/quickstart
DATA ?= data/circles
BUILD_OPTIONS ?=
NUM_CLIPS ?= 10000
SHOW ?= circle-moving-up-right
NUM_EVALUATED ?= 1900
TRAIN_OPTIONS ?=
EVALUATE_OPTIONS ?=
PART ?= 1
# OpenMP pools of several processes fight over the cores: one thread each.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest

.PHONY: quickstart shapes video-demo test test-system check format docs gpu-check gpu-wheels

quickstart: $(VENV)/.installed
	$(BIN)/python -m data_tools.build_shards $(SCENE) --out $(DATA) --num-clips $(NUM_CLIPS) $(BUILD_OPTIONS)
	$(BIN)/accelerate launch --config_file launch/accelerate/one_process.yaml \
		train.py $(PRESET) --data.path $(DATA) --run-dir $(RUN_DIR) $(TRAIN_OPTIONS)
	$(BIN)/python generate.py --weights $(RUN_DIR) --prompts-file data_tools/scenes/$(SCENE).txt \
		--out $(RUN_DIR)/generated
	$(BIN)/python -m t2vgan.evaluation --weights $(RUN_DIR) --data $(DATA) \
		--num-clips $(NUM_EVALUATED) --out $(RUN_DIR)/evaluation.json $(EVALUATE_OPTIONS)
	$(BIN)/python -m t2vgan.report $(RUN_DIR)
	@echo
	@echo "Watch  $(RUN_DIR)/generated/$(SHOW)-0.gif  (a prompt that training never saw)"
	@echo "Open   $(RUN_DIR)/report.html"

shapes:
	$(MAKE) quickstart SCENE=shapes PRESET=shapes-cpu DATA=data/shapes-32 RUN_DIR=runs/shapes-cpu \
		NUM_CLIPS=20000 BUILD_OPTIONS="--size 32x32 --num-frames 16" NUM_EVALUATED=2000 \
		SHOW=a-large-black-triangle-moving-up-right

# A demonstration of the way: colours and textures follow the prompts, fine detail does not.
VIDEO_RUN ?= runs/video-demo
VIDEO_STEPS ?= 1500
video-demo: $(VENV)/.installed
	test -d data/demo-videos || $(BIN)/python -m data_tools.demo_videos --out data/demo-videos
	$(BIN)/python -m data_tools.pack_videos data/demo-videos --out data/demo --size 32x32
	$(BIN)/python -m data_tools.verify_shards data/demo
	$(BIN)/python -m data_tools.inspect_shards data/demo --out $(VIDEO_RUN)/data
	$(BIN)/accelerate launch --config_file launch/accelerate/one_process.yaml \
		train.py video-small --data.path data/demo --run-dir $(VIDEO_RUN) \
		--train.num-steps $(VIDEO_STEPS) $(TRAIN_OPTIONS)
	$(BIN)/python generate.py --weights $(VIDEO_RUN) --prompt "a blue gradient turning fast" \
		--prompt "red cells living and dying" --prompt "a fractal zooming in" \
		--out $(VIDEO_RUN)/generated
	$(BIN)/python -m t2vgan.report $(VIDEO_RUN)
	@echo "Open   $(VIDEO_RUN)/data/contact_sheet.html and $(VIDEO_RUN)/report.html"

test: $(VENV)/.installed-dev
	$(PYTEST) -n 2 --dist worksteal -m "not system"

# Three at once on two cores: many of these tests wait, for a timeout or for Slurm.
test-system: $(VENV)/.installed-dev
	$(PYTEST) -n 3 --dist loadscope -m system

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo "Open   build/site/index.html; to search it, serve it: $(BIN)/python -m http.server -d build/site -b 127.0.0.1"

# A machine with PyTorch, and maybe without a network, needs no environment of ours.
gpu-check:
	test -x $(BIN)/python \
		|| $(PYTHON) -c 'import importlib.util, sys; sys.exit(not importlib.util.find_spec("torch"))' \
		|| $(MAKE) $(VENV)/.installed-dev
	$$(test -x $(BIN)/python && echo $(BIN)/python || echo $(PYTHON)) \
		-m benchmarks.gpu_check --part $(PART)

gpu-wheels: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.gpu_check.wheels

$(VENV)/.installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-docs: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@ $(VENV)/.installed $(VENV)/.installed-docs
