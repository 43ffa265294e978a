import sys

import pymssql
from expected import compare, fails

port, password, tls = sys.argv[1:]


def connect(password=password, **more):
    encryption = "require" if tls == "tls" else "request"
    return pymssql.connect(
        server="127.0.0.1", port=port, user="sa", password=password, tds_version="7.4", encryption=encryption, **more
    )


with connect(database="standin") as connection:
    cursor = connection.cursor()
    compare(cursor, but={"variant": "is bytes, whatever its base type"})
    cursor.execute("SELECT @@VERSION")
    assert cursor.fetchone()[0].startswith("Microsoft SQL Server")
    fails(8134, lambda: cursor.execute("SELECT 1/0"))
    fails(102, lambda: cursor.execute("SELEKT"))
    cursor.execute("SELECT 7")
    assert cursor.fetchall() == [(7,)]
    cursor.execute("SELECT * FROM numbers(20000)")
    assert sum(row[0] for row in cursor) == 199990000
    connection.commit()
    cursor.execute("SELECT @@TRANCOUNT")
    assert cursor.fetchall() == [(1,)]
    connection.rollback()
    assert cursor.callproc("plus_one", (41, pymssql.output(int))) == (41, 42)

fails(18456, lambda: connect(password="wrong"))
fails(18456, lambda: connect(database="nowhere"))
