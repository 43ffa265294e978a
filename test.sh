#!/usr/bin/env bash
# Sets up what is missing, then checks everything: format, lints, tests.
set -euo pipefail
cd "$(dirname "$0")"
. .ci/setup
cargo fmt --version >/dev/null 2>&1 || rustup component add rustfmt
cargo clippy --version >/dev/null 2>&1 || rustup component add clippy

cargo fmt --all --check
cargo clippy --workspace --all-targets --locked -- -D warnings
cargo test --workspace --locked
if [ ! -d "${LOGFERRY_FIXTURES:-../shared/fixtures}" ]; then
    echo "note: tests on files of real servers were skipped: set LOGFERRY_FIXTURES to a folder that has them" >&2
fi
