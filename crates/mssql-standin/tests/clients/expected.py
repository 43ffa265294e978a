"""What `SELECT * FROM all_types` holds, as Python has it; shared by the clients in Python."""

import datetime as dt
import decimal
import uuid

D = decimal.Decimal
ALL_BYTES = bytes(at % 256 for at in range(100_000))
MOST = D("9999999999999999999999999999.9999999999")
POINT = b"\xe6\x10\x00\x00\x01\x0c" + b"\0\0\0\0\0\0\xf0?" + b"\0\0\0\0\0\0\x00@"


def offset(minutes):
    return dt.timezone(dt.timedelta(minutes=minutes))


# Python's times end at microseconds: drivers cut the last digit.
EXPECTED = {
    "bit": (False, True),
    "tinyint": (0, 255),
    "smallint": (-(2**15), 2**15 - 1),
    "int": (-(2**31), 2**31 - 1),
    "bigint": (-(2**63), 2**63 - 1),
    "decimal38": (MOST.copy_negate(), MOST),
    "decimal5": (D("-999.99"), D("999.99")),
    "smallmoney": (D("-214748.3648"), D("214748.3647")),
    "money": (D("-922337203685477.5808"), D("922337203685477.5807")),
    "real": (-3.4028234663852886e38, 3.4028234663852886e38),
    "float": (-1.7976931348623157e308, 1.7976931348623157e308),
    "date": (dt.date(1, 1, 1), dt.date(9999, 12, 31)),
    "time": (dt.time(0), dt.time(23, 59, 59, 999999)),
    "time0": (dt.time(0), dt.time(23, 59, 59)),
    "datetime": (dt.datetime(1753, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 997000)),
    "smalldatetime": (dt.datetime(1900, 1, 1), dt.datetime(2079, 6, 6, 23, 59)),
    "datetime2": (dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999999)),
    "datetimeoffset": (
        dt.datetime(1, 1, 1, 14, tzinfo=offset(840)),
        dt.datetime(9999, 12, 31, 9, 59, 59, 999999, tzinfo=offset(-840)),
    ),
    "uniqueidentifier": (uuid.UUID(int=0), uuid.UUID("04030201-0605-0807-090a-0b0c0d0e0f10")),
    "char": ("     ", "aÿ€  "),
    "varchar": ("", "äöü€"),
    "varcharmax": ("", "x" * 100_000),
    "text": ("", "t" * 50_000),
    "nchar": ("   ", "a😀"),
    "nvarchar": ("", "aß€😀"),
    "nvarcharmax": ("", "ß" * 70_000),
    "ntext": ("", "€" * 20_000),
    "binary": (b"\0" * 4, b"\xff" * 4),
    "varbinary": (b"", b"\0\xff"),
    "varbinarymax": (b"", ALL_BYTES),
    "image": (b"", ALL_BYTES),
    "rowversion": (b"\0" * 8, b"\xff" * 8),
    "variant": (-(2**31), "aß€"),
    "xml": ("", "<a>ß</a>"),
    "hierarchyid": (b"", b"\x58"),
    "geography": (POINT, POINT),
}


def compare(cursor, but=(), columns=tuple(EXPECTED)):
    """Reads the table and compares all columns but those named in `but`: {column: why}."""
    cursor.execute("SELECT * FROM all_types")
    names = [column[0] for column in cursor.description]
    rows = cursor.fetchall()
    assert len(rows) == 3, rows
    assert names == list(columns), names
    for index, name in enumerate(names):
        least, greatest, null = (row[index] for row in rows)
        if name in but:
            continue
        assert null is None, (name, null)
        for value, expect in zip((least, greatest), EXPECTED[name]):
            assert value == expect and type(value) is type(expect), f"{name}: {value!r:.200} is not {expect!r:.200}"


def fails(number, call):
    """Whether the call raises an error that names the number or the text."""
    try:
        call()
    except Exception as error:
        assert str(number) in repr(error) + str(error.__dict__), repr(error)
        return
    raise AssertionError(f"no error {number}")
