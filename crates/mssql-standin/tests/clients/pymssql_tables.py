import sys

import pymssql
from tables import check

port, password, tls = sys.argv[1:]
encryption = "require" if tls == "tls" else "request"
with pymssql.connect(
    server="127.0.0.1", port=port, user="sa", password=password, tds_version="7.4", encryption=encryption, database="standin"
) as connection:
    connection.autocommit(True)
    # Its parameters are literals that it writes: bytes of a bytearray alone, times to the millisecond. Of a variant it gives bytes.
    but = ("t", "at", "variant", "rowversion")
    def load(cursor, table, columns, rows):
        connection.bulk_copy(table, rows, column_ids=range(1, len(columns) + 1), batch_size=300)

    check(connection, "%s", manual=lambda on: connection.autocommit(not on), binary=bytearray, but=but, load=load)
