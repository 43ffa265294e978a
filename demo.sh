#!/usr/bin/env bash
# Sets up what is missing, then shows the whole: backups made for it, or those that are given, into a private PostgreSQL.
#   ./demo.sh
#   ./demo.sh --from /path/to/backups
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/.ci/setup"
cargo build --quiet --locked --manifest-path "$here/Cargo.toml" -p logferry
exec "${CARGO_TARGET_DIR:-$here/target}/debug/logferry" demo "$@"
