import sys

import pytds
from python_tds_tls import options
from tables import check

port, password, tls = sys.argv[1:]
with pytds.connect(
    dsn="127.0.0.1", port=int(port), user="sa", password=password, autocommit=True, database="standin", **options(tls)
) as connection:
    def manual(on):
        connection.autocommit = not on

    check(connection, "%s", manual=manual, binary=pytds.Binary, but=("rowversion",))
