#!/usr/bin/env bash
# FreeTDS: tsql, and freebcp out.
set -euo pipefail
port=$1 password=$2 tls=$3
dir=$(mktemp -d)
trap 'rm -r "$dir"' EXIT
encryption=request
if [ "$tls" = tls ]; then encryption=require; fi
cat >"$dir/freetds.conf" <<CONF
[standin]
    host = 127.0.0.1
    port = $port
    tds version = 7.4
    encryption = $encryption
    client charset = UTF-8
    text size = 1000000
CONF
export FREETDSCONF="$dir/freetds.conf"

ask() { printf '%s\nGO\n' "$1" | tsql -S standin -U sa -P "$password" -o fhq 2>&1; }

expect() {
    local got
    got=$(ask "$1")
    if [[ $got != *"$2"* ]]; then
        echo "$1 gave: $got" >&2
        exit 1
    fi
}

expect "SELECT 42" 42
expect "SELECT @@VERSION" "Microsoft SQL Server 2022: a stand-in"
expect "SELECT 1/0" "Divide by zero error encountered."
expect "EXEC nested error" "Msg 50001 (severity 14, state 9) from STANDIN, Procedure dbo.nested Line 7:"
expect "SELECT 'aß€'" "aß€"

if printf 'SELECT 1\nGO\n' | tsql -S standin -U sa -P wrong >"$dir/wrong" 2>&1; then
    echo "logged in with a wrong password" >&2
    exit 1
fi
grep -q "Login failed for user 'sa'" "$dir/wrong"

freebcp "SELECT * FROM numbers(10000)" queryout "$dir/numbers" -S standin -U sa -P "$password" -c -t '|' >"$dir/bcp" 2>&1 || { cat "$dir/bcp" >&2; exit 1; }
lines=$(wc -l <"$dir/numbers")
[ "$lines" = 10000 ] || { echo "freebcp wrote $lines rows" >&2; cat "$dir/bcp" >&2; exit 1; }
tail -1 "$dir/numbers" | grep -q '^9999|9999029997|0.9999|' || { tail -1 "$dir/numbers" >&2; exit 1; }
