#!/bin/sh
# Format, lint, types (the build has checked them), structure. Prints what is wrong and exits 1.
set -eu
cd "$(dirname "$0")/.."
npx --no-install biome check --error-on-warnings .
node dist/scripts/structure.js
node dist/scripts/reference.js --check
