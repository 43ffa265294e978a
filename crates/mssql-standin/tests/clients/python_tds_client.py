import datetime as dt
import decimal
import sys
import uuid

import pytds
from expected import compare, fails
from python_tds_tls import options

port, password, tls = sys.argv[1:]


def connect(password=password, **more):
    return pytds.connect(dsn="127.0.0.1", port=int(port), user="sa", password=password, autocommit=True, **options(tls), **more)


with connect(database="standin") as connection:
    cursor = connection.cursor()
    compare(cursor)
    parameters = [1, -(2**62), 1.5, "", "aß€😀", "€" * 50_000, pytds.Binary(b"\0\xff"), pytds.Binary(b"x" * 50_000), decimal.Decimal("-12.345"),
                  dt.date(9999, 12, 31), dt.datetime(2020, 2, 29, 12, 0, 1, 123456), uuid.UUID(int=5), True, None]
    cursor.execute("SELECT @a, " + ", ".join("%s" for _ in parameters), parameters)
    for sent, back in zip(parameters, cursor.fetchone()):
        assert sent == back, (sent, back)
    fails("Divide by zero", lambda: (cursor.execute("SELECT 1/0"), cursor.fetchall()))
    fails("Incorrect syntax", lambda: cursor.execute("SELEKT"))
    cursor.execute("SELECT 7")
    assert cursor.fetchall() == [(7,)]
    cursor.execute("SELECT * FROM numbers(2000000000)")
    cursor.fetchmany(10)
    cursor.cancel()
    cursor.execute("SELECT 8")
    assert cursor.fetchall() == [(8,)]
    connection.autocommit = False
    cursor.execute("SELECT @@TRANCOUNT")
    assert cursor.fetchall() == [(1,)]
    connection.rollback()
    assert cursor.callproc("plus_one", (41, pytds.output(param_type="int"))) == [41, 42]

fails("Login failed for user 'sa'.", lambda: connect(password="wrong"))
fails("nowhere", lambda: connect(database="nowhere"))
