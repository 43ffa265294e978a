import sys

import pytds
from expected import fails
from pytds import tds_types
from python_tds_tls import options
from tables import check

port, password, tls = sys.argv[1:]
with pytds.connect(
    dsn="127.0.0.1", port=int(port), user="sa", password=password, autocommit=True, database="standin", **options(tls)
) as connection:
    def manual(on):
        connection.autocommit = not on

    def load(cursor, table, columns, rows):
        kinds = {"id": tds_types.IntType(), "name": tds_types.NVarCharMaxType(), "n": tds_types.BigIntType(), "f": tds_types.FloatType()}
        schema, table = table.split(".")
        columns = [pytds.Column(name=name, type=kinds[name], flags=pytds.tds_base.Column.fNullable) for name in columns]
        cursor.copy_to(table_or_view=table, schema=schema, columns=columns, data=rows)

    check(connection, "%s", manual=manual, binary=pytds.Binary, but=("rowversion",), load=load)

    # xml, whole and in a column of a bulk load.
    cursor = connection.cursor()
    cursor.execute("CREATE TABLE dbo.documents (id int PRIMARY KEY, x xml)")
    documents = [(at, None if at == 3 else "<a>" + "ß" * at * 3000 + "</a>") for at in range(1, 20)]
    columns = [pytds.Column(name="id", type=tds_types.IntType()), pytds.Column(name="x", type=tds_types.XmlType(), flags=pytds.tds_base.Column.fNullable)]
    cursor.copy_to(table_or_view="documents", schema="dbo", columns=columns, data=documents)
    cursor.execute("SELECT id, x FROM dbo.documents ORDER BY id")
    assert [tuple(row) for row in cursor.fetchall()] == documents

    # Table-valued parameters: of a statement, and of a procedure.
    cursor = connection.cursor()
    cursor.execute("CREATE TYPE dbo.pairs AS TABLE (id int NOT NULL PRIMARY KEY, name nvarchar(40) NULL)")
    cursor.execute("CREATE PROCEDURE dbo.take @rows dbo.pairs READONLY, @from int AS SELECT id, name FROM @rows WHERE id >= @from ORDER BY id")
    rows = [(at, None if at == 2 else f"name {at}") for at in range(500)]
    columns = (pytds.Column(type=tds_types.IntType()), pytds.Column(type=tds_types.NVarCharType(size=40)))
    for again in range(2):
        table = pytds.TableValuedParam(type_name="dbo.pairs", columns=columns, rows=rows)
        cursor.callproc("dbo.take", {"@rows": table, "@from": 2})
        assert [tuple(row) for row in cursor.fetchall()] == rows[2:], again
        table = pytds.TableValuedParam(type_name="dbo.pairs", columns=columns, rows=rows)
        cursor.execute("SELECT COUNT(*), COUNT(name), MAX(id) FROM %s", (table,))
        assert tuple(cursor.fetchone()) == (500, 499, 499), again
    fails("PRIMARY KEY", lambda: cursor.callproc("dbo.take", {"@rows": pytds.TableValuedParam(type_name="dbo.pairs", columns=columns, rows=[(1, "a"), (1, "b")]), "@from": 0}))
    cursor.execute("SET NOCOUNT ON; DECLARE @t dbo.pairs; INSERT @t VALUES (7, 'seven'); EXEC dbo.take @t, 0")
    assert [tuple(row) for row in cursor.fetchall()] == [(7, "seven")]
