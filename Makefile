# The four entrances. Each installs what it needs by itself on a fresh machine.
.PHONY: up test check bench faults build clean

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
	@node dist/bench/decide.js
	@node dist/bench/scale.js
	@node dist/bench/workers.js

faults: build
	@node dist/test/fault/main.js

clean:
	rm -rf dist build node_modules
