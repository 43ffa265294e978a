import sys

import mssql_python
from tables import check

port, password, tls = sys.argv[1:]
encrypt = "yes" if tls == "tls" else "no"
with mssql_python.connect(
    f"Server=127.0.0.1,{port};Database=standin;UID=sa;PWD={{{password.replace('}', '}}')}}};Encrypt={encrypt};TrustServerCertificate=yes",
    autocommit=True,
) as connection:
    def load(cursor, table, columns, rows):
        cursor.bulkcopy(table, rows, column_mappings=columns, batch_size=300)

    check(connection, "?", manual=lambda on: connection.setautocommit(not on), but=("rowversion",), load=load)
