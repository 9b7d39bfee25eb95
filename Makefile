# Each target installs what it needs by itself on a fresh machine; `up` and `test` are where to begin.
.PHONY: up test check bench faults fuzz mutants leaks build clean

node_modules/.installed: package-lock.json
	npm ci --no-fund --no-audit
	@touch $@

build: node_modules/.installed
	@echo 'building'
	@npm run --silent build

up: build
	@node dist/cli/main.js up

check: build
	@sh scripts/check.sh

test: check
	@node dist/test/services/install.js
	@node dist/test/run.js

bench: build
	@node dist/bench/main.js
	@node dist/bench/features.js
	@node dist/bench/processes-two.js
	@node dist/bench/decide.js
	@node dist/bench/balance.js
	@node dist/bench/health.js
	@node dist/bench/scale.js
	@node dist/bench/control.js
	@node dist/bench/latency.js
	@node dist/bench/memory.js
	@node dist/bench/churn.js
	@node dist/bench/workers.js

faults: build
	@node dist/test/fault/main.js

# Longer than in `make test`, from a new seed: FUZZ_SECONDS for each test, FUZZ_SEED to repeat one.
fuzz: build
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} node dist/test/run.js test/fuzz

# Exchanges ended in every way, ten thousand of each.
leaks: build
	@LEAK_ROUNDS=$${LEAK_ROUNDS:-10000} node --test --test-reporter=spec dist/test/protocol/endings.test.js

# Breaks the rules of the engine one by one and demands that their tests fail; minutes.
mutants: build
	@node dist/test/fuzz/mutants.js

clean:
	rm -rf dist build node_modules
