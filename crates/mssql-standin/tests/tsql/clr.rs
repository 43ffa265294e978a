//! Values of hierarchyid, geometry and geography; sql_variant.

use crate::{check, connect, server};

#[test]
fn values() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int PRIMARY KEY, h hierarchyid, m geometry, g geography, v sql_variant)", ""),
            (
                "INSERT t VALUES (1, hierarchyid::Parse('/1/-2.18/'), geometry::STGeomFromText('POINT (1 2)', 7), geography::Point(47.5, -122.25, 4326), 5), (2, '/', 'POLYGON ((0 0, 1 0, 1 1, 0 0))', 'LINESTRING (1 2, 3 4 5)', N'x'), (3, hierarchyid::GetRoot(), NULL, NULL, CAST('2020-01-02' AS date)); INSERT t (id, h) VALUES (4, 0x58)",
                "#3 ; #1",
            ),
            ("SELECT id, h FROM t ORDER BY id", "1, \"/1/-2.18/\" | 2, \"/\" | 3, \"/\" | 4, \"/1/\""),
            (
                "SELECT h.ToString(), h.GetLevel(), m.STAsText(), g.ToString(), CAST(h AS nvarchar(20)) FROM t WHERE id < 3 ORDER BY id",
                "\"/1/-2.18/\", 2, \"POINT (1 2)\", \"POINT (-122.25 47.5)\", \"/1/-2.18/\" | \"/\", 0, \"POLYGON ((0 0, 1 0, 1 1, 0 0))\", \"LINESTRING (1 2, 3 4 5)\", \"/\"",
            ),
            (
                "SELECT CONVERT(varbinary(max), m), CONVERT(varbinary(20), h) FROM t WHERE id = 1",
                "\"0x07000000010C000000000000F03F0000000000000040\", \"0x59FB0540\"",
            ),
            (
                "SELECT id FROM t WHERE h = '/1/'; SELECT CAST(SQL_VARIANT_PROPERTY(v, 'BaseType') AS sysname), CAST(v AS nvarchar(20)) FROM t WHERE id < 4 ORDER BY id",
                "4 ; \"int\", \"5\" | \"nvarchar\", \"x\" | \"date\", \"2020-01-02\"",
            ),
            (
                "SELECT c.name, t.name, c.max_length FROM sys.columns c JOIN sys.types t ON t.user_type_id = c.user_type_id WHERE c.object_id = OBJECT_ID('t') AND c.column_id BETWEEN 2 AND 4 ORDER BY c.column_id",
                "\"h\", \"hierarchyid\", 892 | \"m\", \"geometry\", -1 | \"g\", \"geography\", -1",
            ),
            (
                "UPDATE t SET h = '/7/', m = geometry::Point(1.5, 2, 0) WHERE id = 1; SELECT h, m.STAsText() FROM t WHERE id = 1",
                "#1 ; \"/7/\", \"POINT (1.5 2)\"",
            ),
            (
                "SELECT CAST('/1' AS hierarchyid)",
                "!6522 A .NET Framework error occurred during execution of user-defined routine or aggregate \"hierarchyid\": 24001: SqlHierarchyId.Parse failed because the input string is not a valid string representation of a SqlHierarchyId node.",
            ),
            (
                "SELECT geometry::STGeomFromText('CIRCULARSTRING (0 0, 1 1, 2 0)', 0)",
                "!6522 A .NET Framework error occurred during execution of user-defined routine or aggregate \"geometry\": the well-known text is wrong: 'CIRCULARSTRING' is not supported (at byte 14)",
            ),
        ],
    );
}
