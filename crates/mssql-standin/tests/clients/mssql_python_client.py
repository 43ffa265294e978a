import datetime as dt
import decimal
import sys
import uuid

import mssql_python
from expected import compare, fails

port, password, tls = sys.argv[1:]
quoted = "{" + password.replace("}", "}}") + "}"


def connect(password=quoted, database="standin"):
    encrypt = "yes" if tls == "tls" else "no"
    return mssql_python.connect(
        f"Server=127.0.0.1,{port};Database={database};UID=sa;PWD={password};Encrypt={encrypt};TrustServerCertificate=yes"
    )


with connect() as connection:
    cursor = connection.cursor()
    compare(cursor)
    parameters = [1, -(2**62), 1.5, "", "aß€😀", "€" * 50_000, b"\0\xff", b"x" * 50_000, decimal.Decimal("-12.345"),
                  dt.date(9999, 12, 31), dt.datetime(2020, 2, 29, 12, 0, 1, 123456), uuid.UUID(int=5), True]
    cursor.execute("SELECT @a, " + ", ".join("?" for _ in parameters), parameters)
    for sent, back in zip(parameters, cursor.fetchone()):
        assert sent == back, (sent, back)
    fails("Divide by zero", lambda: (cursor.execute("SELECT 1/0"), cursor.fetchall()))
    fails("Incorrect syntax", lambda: cursor.execute("SELEKT"))
    connection.commit()
    connection.setautocommit(False)
    cursor.execute("SELECT @@TRANCOUNT")
    assert cursor.fetchone()[0] == 1
    connection.rollback()
    cursor.execute("SELECT * FROM numbers(2000000)")
    cursor.fetchmany(10)
    cursor.close()
    cursor = connection.cursor()
    cursor.execute("SELECT 8")
    assert cursor.fetchone()[0] == 8

fails("Login failed for user", lambda: connect(password="wrong"))
fails("Login failed for user", lambda: connect(database="nowhere"))
