"""What every client in Python does to tables: shared, as it all goes through DB-API."""

import datetime as dt
import decimal
import uuid

from expected import compare, fails

D = decimal.Decimal
# Column, type, a value, another one.
COLUMNS = [
    ("flag", "bit", True, False),
    ("i", "int", 2**31 - 1, -(2**31)),
    ("big", "bigint", 2**63 - 1, -(2**63)),
    ("f", "float", 1.5e300, -0.1),
    ("s", "nvarchar(50)", "aß€😀'\"", ""),
    ("long", "nvarchar(max)", "€" * 30_000, "ß"),
    ("v", "varchar(50)", "aäÿ€", " "),
    ("bin", "varbinary(50)", b"\0\xff", b"\x01"),
    ("longbin", "varbinary(max)", bytes(range(256)) * 100, b"\0"),
    ("d", "decimal(38,10)", D("-1234567890123456789012345678.0123456789"), D("0E-10")),
    ("m", "money", D("-922337203685477.5808"), D("0.0001")),
    ("day", "date", dt.date(9999, 12, 31), dt.date(1753, 1, 1)),
    ("t", "time(6)", dt.time(23, 59, 59, 999999), dt.time(0)),
    ("at", "datetime2(6)", dt.datetime(2020, 2, 29, 12, 0, 1, 123456), dt.datetime(1753, 1, 1)),
    ("g", "uniqueidentifier", uuid.UUID("04030201-0605-0807-090a-0b0c0d0e0f10"), uuid.UUID(int=0)),
]


def check(connection, mark, *, manual=None, but=(), binary=lambda value: value, load=None):
    """Runs all; `mark` stands for a parameter, `manual` turns autocommit off and on, `but` are columns that the client cannot send."""
    cursor = connection.cursor()

    def one(sql, *parameters):
        cursor.execute(sql, parameters) if parameters else cursor.execute(sql)
        return cursor.fetchone()[0]

    columns = [column for column in COLUMNS if column[0] not in but]
    definitions = ", ".join(f"[{name}] {kind}" for name, kind, *_ in columns)
    cursor.execute(f"CREATE TABLE dbo.sent (id int NOT NULL PRIMARY KEY, {definitions})")
    insert = f"INSERT INTO dbo.sent VALUES ({', '.join([mark] * (len(columns) + 1))})"
    sent = lambda at: tuple(binary(column[at]) if isinstance(column[at], bytes) else column[at] for column in columns)
    cursor.execute(insert, (1, *sent(2)))
    cursor.execute(insert, (2, *sent(3)))
    assert cursor.rowcount == 1, cursor.rowcount
    if mark == "?" or not but:
        cursor.execute(insert, (3, *[None] * len(columns)))
    else:
        cursor.execute("INSERT INTO dbo.sent (id) VALUES (3)")
    cursor.execute("SELECT * FROM dbo.sent ORDER BY id")
    assert [column[0] for column in cursor.description] == ["id"] + [column[0] for column in columns]
    rows = cursor.fetchall()
    for row, expect in zip(rows, ([c[2] for c in columns], [c[3] for c in columns], [None] * len(columns)), strict=True):
        for (name, kind, *_), value, wanted in zip(columns, list(row)[1:], expect, strict=True):
            assert value == wanted and type(value) is type(wanted), f"{name} {kind}: {value!r:.200} is not {wanted!r:.200}"

    # Found again by parameters.
    for name, kind, value, _ in columns:
        if "max" not in kind and kind != "float":
            value = binary(value) if isinstance(value, bytes) else value
            assert one(f"SELECT id FROM dbo.sent WHERE [{name}] = {mark}", value) == 1, name
    cursor.execute(f"UPDATE dbo.sent SET s = {mark} WHERE id >= {mark}", ("new", 2))
    assert cursor.rowcount == 2, cursor.rowcount
    cursor.execute(f"DELETE FROM dbo.sent WHERE s = {mark}", ("new",))
    assert cursor.rowcount == 2, cursor.rowcount

    # Identity, defaults, many rows, pages of them.
    cursor.execute("CREATE TABLE dbo.item (id int IDENTITY PRIMARY KEY, name nvarchar(20) NOT NULL UNIQUE, at datetime DEFAULT GETDATE())")
    cursor.executemany(f"INSERT INTO dbo.item (name) VALUES ({mark})", [(f"item {at}",) for at in range(100)])
    assert one("SELECT COUNT(*) FROM dbo.item WHERE at > '2000-01-01'") == 100
    assert one(f"INSERT INTO dbo.item (name) OUTPUT inserted.id VALUES ({mark})", "the last") == 101
    cursor.execute("SELECT id, name FROM dbo.item ORDER BY id DESC OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY")
    assert [tuple(row) for row in cursor.fetchall()] == [(100, "item 99"), (99, "item 98")]

    # Errors, after which the connection goes on.
    fails("UNIQUE KEY", lambda: cursor.execute(f"INSERT INTO dbo.item (name) VALUES ({mark})", ("item 5",)))
    fails("Cannot insert the value NULL", lambda: cursor.execute("INSERT INTO dbo.item (name) VALUES (NULL)"))
    fails("Invalid object name", lambda: cursor.execute("SELECT * FROM dbo.nothing"))
    fails("Invalid column name", lambda: cursor.execute("SELECT nothing FROM dbo.item"))
    fails("Incorrect syntax near", lambda: cursor.execute("SELECT * FORM dbo.item WHERE"))
    fails("Divide by zero", lambda: (cursor.execute("SELECT 1/0"), cursor.fetchall()))
    fails("mine", lambda: cursor.execute("RAISERROR('mine', 16, 1)"))
    assert one("SELECT COUNT(*) FROM dbo.item") == 101

    # Transactions.
    if manual:
        manual(True)
        cursor.execute("DELETE FROM dbo.item")
        connection.rollback()
        assert one("SELECT COUNT(*) FROM dbo.item") == 101
        cursor.execute("DELETE FROM dbo.item WHERE id > 50")
        cursor.execute("SAVE TRANSACTION here")
        cursor.execute("DELETE FROM dbo.item")
        cursor.execute("ROLLBACK TRANSACTION here")
        connection.commit()
        connection.rollback()
        assert one("SELECT COUNT(*) FROM dbo.item") == 50
        connection.commit()
        manual(False)

    # Whole tables at once.
    if load:
        cursor.execute("CREATE TABLE dbo.loaded (id int NOT NULL PRIMARY KEY, name nvarchar(max), n bigint, f float, more int NULL DEFAULT 7)")
        cursor.execute("CREATE TRIGGER dbo.never ON dbo.loaded AFTER INSERT AS DELETE dbo.loaded")
        rows = [(at, None if at % 3 == 0 else "€" * (at % 50 * 200 + 1), at << 33, at / 7) for at in range(1000)]
        load(cursor, "dbo.loaded", ["id", "name", "n", "f"], rows)
        cursor.execute("SELECT * FROM dbo.loaded ORDER BY id")
        for row, expect in zip(cursor.fetchall(), rows, strict=True):
            assert tuple(row) == (*expect, 7), f"{row!r:.300} is not {expect!r:.300}"

    # Rows that no client wrote.
    compare(cursor, but={name: "left out" for name in but})
