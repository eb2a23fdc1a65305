# The whole chain of jobs, written down only here. `make help` lists the targets.

VENV ?= .venv
PYTHON3 ?= python3
PYTHON := $(VENV)/bin/python
UV := $(VENV)/bin/uv
# The BigQuery emulator of the tests: in its own environment, so that its packages
# decide nothing about ours.
BIGQUERY := $(VENV)-bigquery
# vLLM, for --engine=vllm, and for the same reason.
VLLM := $(VENV)-vllm

# A MovieLens CSV folder to run on instead of MovieLens-100K.
DATA_DIR ?=
# Or a dataset file (docs/own_data.md), for `make run`.
DATASET ?=
RUN ?= runs/$(if $(DATASET),$(basename $(notdir $(DATASET))),quickstart$(if \
  $(DATA_DIR),-$(notdir $(DATA_DIR:/=))))
# Of a dataset file, the recipe for what its histories ask.
CHOSEN = $$($(PYTHON) -c 'import json, sys; from pipelines import try_dataset; \
  print(try_dataset.recipe_of(json.load(open(sys.argv[1]))["dataset"]["questions"]))' \
  $(RUN)/histories/dataset_info.json)
# More flags of batch_predict, such as --engine=vllm.
PREDICT_ARGS ?=
RECIPE ?= $(if $(DATASET),$(CHOSEN),persoma_tf/configs/runs/quickstart.gin)

# Large arrays in huge pages: a training step on CPU takes a fifth less time.
GLIBC_TUNABLES ?= glibc.malloc.hugetlb=1
export GLIBC_TUNABLES
# Images of containers often set it: every command would compile all packages anew, 10 s.
unexport PYTHONDONTWRITEBYTECODE

.DELETE_ON_ERROR:
.PHONY: help setup setup-vllm test-vllm setup-t5x setup-prism lock pin-images assets quickstart run test \
  test-engine lint format tables clean

help:  ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# uv installs the rest; it has its hash in the lock, too.
$(VENV)/COMPLETED: requirements.txt requirements-test.txt
	rm -rf $(VENV)
	$(PYTHON3) -m venv $(VENV)
	sed -n '/^uv==/,/[^\\]$$/p' requirements-test.txt | $(PYTHON) -m pip install --quiet \
	  --disable-pip-version-check --require-hashes --requirement /dev/stdin
	$(UV) pip install --python $(PYTHON) --require-hashes --requirement requirements.txt \
	  --requirement requirements-test.txt
	@touch $@

$(BIGQUERY)/COMPLETED: requirements-bigquery.txt | $(VENV)/COMPLETED
	rm -rf $(BIGQUERY)
	$(UV) venv --quiet --python $(PYTHON) $(BIGQUERY)
	$(UV) pip install --python $(BIGQUERY)/bin/python --require-hashes \
	  --requirement requirements-bigquery.txt
	@touch $@

setup: $(VENV)/COMPLETED $(BIGQUERY)/COMPLETED  ## make the virtual environments from the locks

# The lock is complete; --no-deps, as it overrides what vLLM asks of torch.
$(VLLM)/COMPLETED: requirements-vllm.txt | $(VENV)/COMPLETED
	rm -rf $(VLLM)
	$(UV) venv --quiet --python $(PYTHON) $(VLLM)
	$(UV) pip install --python $(VLLM)/bin/python --require-hashes --no-deps \
	  --requirement requirements-vllm.txt
	@touch $@

setup-vllm: $(VLLM)/COMPLETED  ## make the environment of --engine=vllm (6 GB)

test-vllm: setup-vllm  ## run the tests of --engine=vllm with vLLM
	$(PYTHON) -m pytest --numprocesses=0 --timeout=1200 -m vllm $(PYTEST_ARGS)

setup-t5x: setup  ## add T5X, from its repository (needs git)
	$(UV) pip install --python $(PYTHON) --no-deps --requirement requirements-t5x.txt

# For Python 3.11 on x86-64 Linux, from setup.py and requirements-*.in. What is locked
# already stays, unless LOCK_ARGS says otherwise: --upgrade, --upgrade-package=NAME.
LOCK_ARGS ?=
COMPILE = UV_CUSTOM_COMPILE_COMMAND='make lock' $(UV) pip compile --quiet --generate-hashes \
  --python-version 3.11 --python-platform x86_64-unknown-linux-gnu $(LOCK_ARGS)

# Beam's runner in Go, of Beam's own version.
setup-prism: setup  ## add Prism (needs Go)
	GOBIN=$(abspath $(VENV))/bin go install github.com/apache/beam/sdks/v2/go/cmd/prism@$$(sed \
	  -n 's/^apache-beam==\([0-9.]*\).*/v\1/p' requirements.txt)

lock: setup  ## renew the locks: after a change of setup.py or requirements-*.in
	$(COMPILE) --output-file requirements.txt setup.py
	$(COMPILE) --output-file requirements-test.txt --constraint requirements.txt \
	  $$(sed -n 's/^\([a-z0-9.-]*\)==.*/--no-emit-package \1/p' requirements.txt) \
	  requirements-test.in
	$(COMPILE) --output-file requirements-bigquery.txt --constraint requirements.txt \
	  requirements-bigquery.in
	$(COMPILE) --output-file requirements-vllm.txt --override requirements-vllm.override \
	  requirements-vllm.in

pin-images:  ## write the digests of the Dockerfile's images (needs their registries)
	$(PYTHON3) cloud/pin_images.py Dockerfile

assets: setup  ## download the pinned data set and models, once
	$(PYTHON) -m persoma_tf.assets

quickstart: $(RUN)/report/COMPLETED  ## run all jobs from ratings to report, on MovieLens-100K or DATA_DIR=...
	@tail -n +1 $$(find $(RUN)/report -name scores.txt | sort)
	@echo "prediction table: $(RUN)/predictions"
	@echo "report: $(RUN)/report/report.html"

ifeq ($(MAKECMDGOALS)$(DATASET),run)
$(error make run needs DATASET=..., the path of a dataset file)
endif
run: quickstart  ## run all jobs on DATASET=..., a dataset file

# One rule for each stage. A stage is finished when its COMPLETED marker exists. Of
# several questions, each has its own: then the jobs themselves see that all is there.
ifeq ($(DATA_DIR),)
RATINGS = $$($(PYTHON) -m persoma_tf.assets --path ml-100k)/ml-100k.inter
MOVIES = $$($(PYTHON) -m persoma_tf.assets --path ml-100k)/ml-100k.item
DATA_LICENSE ?= GroupLens: research use, no redistribution; cite Harper and Konstan 2015
else
RATINGS = $(DATA_DIR)/ratings.csv
MOVIES = $(DATA_DIR)/movies.csv
DATA_LICENSE ?=
endif

ifneq ($(DATASET),)
# Of a changed file the job says what is to do.
$(RUN)/histories/COMPLETED: $(DATASET) | $(VENV)/COMPLETED
	$(PYTHON) -m pipelines.build_histories --dataset=$(DATASET) \
	  --output_dir=$(RUN)/histories
	@touch $@
else
$(RUN)/histories/COMPLETED: | $(VENV)/COMPLETED
	$(PYTHON) -m persoma_tf.assets
	$(PYTHON) -m pipelines.build_histories --ratings=$(RATINGS) --movies=$(MOVIES) \
	  --output_dir=$(RUN)/histories --sampler=recency --max_history=100 \
	  --train_fraction=0.7 --validation_fraction=0.1 --data_license="$(DATA_LICENSE)"
endif

$(RUN)/embeddings/COMPLETED: | $(RUN)/histories/COMPLETED
	$(PYTHON) -m pipelines.embed_items --histories_dir=$(RUN)/histories \
	  --output_dir=$(RUN)/embeddings

$(RUN)/model/COMPLETED: | $(RUN)/embeddings/COMPLETED
	$(if $(DATASET),-$(PYTHON) -m pipelines.inspect --histories_dir=$(RUN)/histories \
	  --embeddings_dir=$(RUN)/embeddings)
	$(PYTHON) -m persoma_tf.train --gin_file=$(RECIPE) --model_dir=$(RUN)/model \
	  --histories_dir=$(RUN)/histories --embeddings_dir=$(RUN)/embeddings

$(RUN)/predictions/COMPLETED: | $(RUN)/model/COMPLETED
	$(PYTHON) -m pipelines.batch_predict --model_dir=$(RUN)/model \
	  --histories_dir=$(RUN)/histories --embeddings_dir=$(RUN)/embeddings \
	  --output_dir=$(RUN)/predictions $(PREDICT_ARGS)

$(RUN)/report/COMPLETED: | $(RUN)/predictions/COMPLETED
	$(PYTHON) -m pipelines.evaluate --predictions_dir=$(RUN)/predictions \
	  --histories_dir=$(RUN)/histories --embeddings_dir=$(RUN)/embeddings \
	  --model_dir=$(RUN)/model --output_dir=$(RUN)/report > /dev/null

test: setup  ## run the test suite
	$(PYTHON) -m pytest $(PYTEST_ARGS)

# Of a job service that runs, such as a cluster's; its folders are in PYTEST_ARGS=--basetemp=...
test-engine: setup  ## run all jobs on JOB_ENDPOINT=host:port with ENVIRONMENT='DOCKER image' [KILL='command']
	$(PYTHON) -m pytest --numprocesses=0 -m '' $(PYTEST_ARGS) tests/engines/test_job_service.py \
	  $(if $(JOB_ENDPOINT),--job_endpoint=$(JOB_ENDPOINT)) \
	  $(if $(ENVIRONMENT),--environment='$(ENVIRONMENT)') $(if $(KILL),--kill='$(KILL)')

lint: setup  ## check style, format and which room imports which
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/lint-imports --no-logo

format: setup  ## fix style and format in place
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

tables: setup  ## regenerate the tables of README.md and docs/ from benchmarks/results
	$(PYTHON) -m benchmarks.tables

clean:  ## delete runs and the virtual environment (not the asset cache)
	rm -rf runs $(VENV) $(BIGQUERY) $(VLLM) build *.egg-info .pytest_cache .ruff_cache
