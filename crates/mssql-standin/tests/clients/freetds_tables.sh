#!/usr/bin/env bash
# FreeTDS against tables: tsql, and freebcp out.
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

ask() { printf '%s\nGO\n' "$@" | tsql -S standin -U sa -P "$password" -D standin -o fhq 2>&1; }

expect() {
    local wanted=$1 got
    shift
    got=$(ask "$@")
    if [[ $got != *"$wanted"* ]]; then
        echo "$* gave: $got" >&2
        exit 1
    fi
}

ask "CREATE TABLE dbo.bulk (id int IDENTITY PRIMARY KEY, name nvarchar(20), price decimal(9,2), at datetime2(3))" \
    "INSERT dbo.bulk VALUES (N'aß€', -1.5, '2024-02-29 12:00:01.123'), (NULL, NULL, NULL)"
for _ in 1 2 3 4 5 6 7 8 9; do ask "INSERT dbo.bulk SELECT name, price, at FROM dbo.bulk"; done >/dev/null
expect 1024 "SELECT COUNT(*) FROM dbo.bulk"
expect "aß€" "SELECT name FROM dbo.bulk WHERE id = 1"
expect "Msg 208 (severity 16, state 1) from STANDIN Line 2:" "
SELECT * FROM dbo.nothing"
expect "Divide by zero error encountered." "SELECT 1/0"
expect 1 "BEGIN TRAN DELETE dbo.bulk" "SELECT @@TRANCOUNT" "ROLLBACK"
expect 1024 "SELECT COUNT(*) FROM dbo.bulk"

export_to() { freebcp "$1" "$2" "$dir/$3" -S standin -U sa -P "$password" -c -t '|' >"$dir/bcp" 2>&1 || { cat "$dir/bcp" >&2; exit 1; }; }

export_to standin.dbo.bulk out table

# And in again, in several batches, into a table that has a default and a check which bulk load leaves alone.
ask "CREATE TABLE dbo.loaded (id int NOT NULL PRIMARY KEY, name nvarchar(20), price decimal(9,2) CHECK (price > 0), at datetime2(3), more int DEFAULT 7)" \
    "INSERT dbo.loaded (id) VALUES (0)" "DELETE dbo.loaded"
sed 's/$/|/' "$dir/table" >"$dir/in"
freebcp standin.dbo.loaded in "$dir/in" -S standin -U sa -P "$password" -c -t '|' -b 300 >"$dir/bcp" 2>&1 || { cat "$dir/bcp" >&2; exit 1; }
grep -q "1024 rows copied" "$dir/bcp" || { cat "$dir/bcp" >&2; exit 1; }
expect 1024 "SELECT COUNT(*) FROM dbo.loaded WHERE more = 7"
expect 0 "SELECT COUNT(*) FROM dbo.loaded l FULL JOIN dbo.bulk b ON b.id = l.id WHERE l.id IS NULL OR b.id IS NULL OR ISNULL(l.name, '') <> ISNULL(b.name, '') OR ISNULL(l.price, 0) <> ISNULL(b.price, 0) OR ISNULL(l.at, '2000-01-01') <> ISNULL(b.at, '2000-01-01')"
# What is there already is refused, and nothing of its batch stays.
if freebcp standin.dbo.loaded in "$dir/in" -S standin -U sa -P "$password" -c -t '|' >"$dir/bcp" 2>&1 && grep -q "1024 rows copied" "$dir/bcp"; then
    echo "freebcp wrote rows that were there" >&2
    exit 1
fi
expect 1024 "SELECT COUNT(*) FROM dbo.loaded"
export_to "SELECT * FROM standin.dbo.bulk WHERE id <= 2 ORDER BY id" queryout query
[ "$(wc -l <"$dir/table")" = 1024 ] || { echo "freebcp wrote $(wc -l <"$dir/table") rows" >&2; cat "$dir/bcp" >&2; exit 1; }
cmp <(head -2 "$dir/table") "$dir/query"
head -1 "$dir/table" | grep -q '^1|aß€|-1.50|2024-02-29 12:00:01.123' || { head -1 "$dir/table" >&2; exit 1; }
sed -n 2p "$dir/table" | grep -qx '2|||' || { sed -n 2p "$dir/table" >&2; exit 1; }
