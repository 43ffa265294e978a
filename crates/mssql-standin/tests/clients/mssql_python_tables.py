import sys

import mssql_python
from tables import check

port, password, tls = sys.argv[1:]
encrypt = "yes" if tls == "tls" else "no"
with mssql_python.connect(
    f"Server=127.0.0.1,{port};Database=standin;UID=sa;PWD={{{password.replace('}', '}}')}}};Encrypt={encrypt};TrustServerCertificate=yes",
    autocommit=True,
) as connection:
    check(connection, "?", manual=lambda on: connection.setautocommit(not on), but=("rowversion",))
