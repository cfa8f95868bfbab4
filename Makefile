# `make demo` and `make test` do all the set-up themselves. ARGS= is passed on; PORT= is the demo's port (4000).
PYTHON = .venv/bin/python
SETUP = @sh scripts/setup

.PHONY: help demo test laws test-sdks test-watch test-agents test-package test-keras test-mlx test-vllm test-containers check format pin-images bench docs lock clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile

demo: ## the gateway on 127.0.0.1:4000 with real llama.cpp servers (PORT=4001 for another port)
	$(SETUP) demo
	@exec $(PYTHON) -m gateway demo $(ARGS)

test: ## the test suite, partly on real servers (ARGS="-k text -x" and the like)
	$(SETUP) dev
	@PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -rs -n 3 --dist loadfile --no-loadscope-reorder $(ARGS)

laws: ## every law a thousand times, with other examples than the last time: minutes to hours (ARGS="tests/routing")
	$(SETUP) dev
	@PYTHONDONTWRITEBYTECODE= $(PYTHON) -m pytest -n 3 --hypothesis-profile=long -m hypothesis $(ARGS)

test-sdks: ## the official SDKs (openai, google-genai, anthropic, ...) against real servers, in an environment of their own
	@sh scripts/clients sdks
	@.cache/sdks/bin/python -m pytest -rs -W ignore tests/sdks $(ARGS)
	@for major in genai genai1; do \
		PYTHONPATH=.cache/$$major .cache/sdks/bin/python -m pytest -rs -W ignore tests/sdks/test_google_genai.py $(ARGS) || [ $$? = 5 ] || exit 1; \
	done # 5: ARGS chose none of these

test-watch: ## alerts and dashboards: promtool, and a real Prometheus that watches a real gateway under load
	$(SETUP) dev
	@sh scripts/prometheus
	@GATEWAY_TEST_WATCH=1 $(PYTHON) -m pytest -rs tests/watch $(ARGS)

test-agents: ## coding agents from npm do a task through the gateway (1.7 GB, no network but loopback); not part of `make test`
	$(SETUP) dev
	@sh scripts/clients agents
	@GATEWAY_TEST_AGENTS=1 sh scripts/loopback $(PYTHON) -m pytest -rs -W ignore tests/agents $(ARGS)

test-package: ## the wheel, installed into an empty environment, answers its demo's calls
	$(SETUP) dev
	@sh scripts/package

docs: ## the pages of docs/ as a site, in site/ (strict: a broken link is an error)
	@sh scripts/docs

test-keras: ## the keras worker on a real keras-hub, in an environment of its own (1.2 GB); not part of `make test`
	@sh scripts/keras
	@OMP_NUM_THREADS=1 .cache/keras/bin/python -m pytest -rs tests/worker/keras $(ARGS)

test-mlx: ## real mlx_lm and mlx_vlm servers with tiny models, in an environment of their own (1.2 GB); not part of `make test`
	@sh scripts/mlx
	@.cache/mlx/bin/python -m pytest -rs -W ignore tests/mlx $(ARGS)

test-vllm: ## a real vLLM server on the CPU with a tiny Gemma 4, in an environment of its own (4 GB); not part of `make test`
	$(SETUP) dev
	@sh scripts/vllm
	@GATEWAY_TEST_VLLM=.cache/vllm/bin/python $(PYTHON) -m pytest -rs -W ignore tests/vllm $(ARGS)

test-containers: ## the image, and the compose file with the embedded fleet, in podman; not part of `make test`
	$(SETUP) dev
	@sh scripts/containers $(ARGS)

check: ## format, lint, types, layers, the imports of tests; the Dockerfile and the compose file
	$(SETUP) dev
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@$(PYTHON) -m tests.imports
	.venv/bin/hadolint Dockerfile
	@$(PYTHON) -m tests.compose.schema docker-compose.yml

format: ## formats the code and sorts its imports
	$(SETUP) dev
	.venv/bin/ruff check --fix --select I .
	.venv/bin/ruff format .

bench: ## what the gateway costs, against two bare relays
	$(SETUP) dev
	@sh scripts/envoy
	@$(PYTHON) -m bench $(ARGS)

lock: ## writes requirements/*.txt again, with the newest versions that fit
	@sh scripts/lock

pin-images: ## writes the digests of the images that docker-compose.yml and `gateway compose` name into them
	$(SETUP) dev
	@$(PYTHON) scripts/pin_images.py $(ARGS)

clean: ## removes what the other targets made
	rm -rf .venv .cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis dist site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
