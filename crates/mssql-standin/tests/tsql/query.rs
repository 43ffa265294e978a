//! SELECT.

use crate::{check, connect, server};

const SETUP: &str =
    "CREATE TABLE dbo.p (id int NOT NULL PRIMARY KEY, name nvarchar(20), price decimal(9,2), kind char(1));
    INSERT p VALUES (1, N'apple', 1.50, 'f'), (2, N'Beet', 0.75, 'v'), (3, N'cherry', NULL, 'f'), (4, NULL, 2.25, NULL);
    CREATE TABLE o (id int NOT NULL PRIMARY KEY, p int NULL, n int NOT NULL);
    INSERT INTO o (id, p, n) VALUES (10, 1, 5), (11, 1, 2), (12, 2, 7), (13, NULL, 1), (14, 9, 1)";

#[test]
fn selects() {
    let mut s = connect(&server());
    check(
        &mut s,
        &[
            (SETUP, "#4 ; #5"),
            ("SELECT id FROM p", "1 | 2 | 3 | 4"),
            ("SELECT * FROM p WHERE id = 2", "2, \"Beet\", 0.75, \"v\""),
            ("SELECT name FROM p WHERE name = 'APPLE '", "\"apple\""),
            ("SELECT id FROM p WHERE price > 1", "1 | 4"),
            ("SELECT id FROM p WHERE NOT price > 1", "2"),
            ("SELECT id FROM p WHERE price IS NULL OR kind IS NULL", "3 | 4"),
            ("SELECT id FROM p ORDER BY price DESC, id", "4 | 1 | 2 | 3"),
            ("SELECT id, name AS n FROM p ORDER BY n", "4, null | 1, \"apple\" | 2, \"Beet\" | 3, \"cherry\""),
            ("SELECT TOP 2 id FROM p ORDER BY id DESC", "4 | 3"),
            ("SELECT TOP (1) WITH TIES kind FROM p WHERE kind IS NOT NULL ORDER BY kind", "\"f\" | \"f\""),
            ("SELECT TOP 50 PERCENT id FROM p ORDER BY id", "1 | 2"),
            ("SELECT id FROM p ORDER BY id OFFSET 1 ROWS FETCH NEXT 2 ROWS ONLY", "2 | 3"),
            ("SELECT DISTINCT kind FROM p ORDER BY kind", "null | \"f\" | \"v\""),
            (
                "SELECT COUNT(*), COUNT(price), SUM(price), AVG(price), MIN(name), MAX(id) FROM p",
                "4, 3, 4.50, 1.500000, \"apple\", 4",
            ),
            ("SELECT COUNT(*) FROM p WHERE 1 = 0", "0"),
            ("SELECT kind, COUNT(*) c FROM p GROUP BY kind ORDER BY c DESC, kind", "\"f\", 2 | null, 1 | \"v\", 1"),
            ("SELECT kind FROM p GROUP BY kind HAVING COUNT(*) > 1", "\"f\""),
            ("SELECT COUNT(DISTINCT kind), STRING_AGG(name, ',') FROM p", "2, \"apple,Beet,cherry\""),
            (
                "SELECT p.name, o.n FROM p JOIN o ON o.p = p.id ORDER BY o.id",
                "\"apple\", 5 | \"apple\", 2 | \"Beet\", 7",
            ),
            (
                "SELECT p.id, o.id FROM p LEFT JOIN o ON o.p = p.id ORDER BY 1, 2",
                "1, 10 | 1, 11 | 2, 12 | 3, null | 4, null",
            ),
            (
                "SELECT p.id, o.id FROM p RIGHT OUTER JOIN o ON o.p = p.id WHERE p.id IS NULL ORDER BY o.id",
                "null, 13 | null, 14",
            ),
            ("SELECT COUNT(*) FROM p FULL JOIN o ON o.p = p.id", "7"),
            ("SELECT COUNT(*) FROM p CROSS JOIN o", "20"),
            ("SELECT COUNT(*) FROM p, o WHERE p.id = o.p", "3"),
            ("SELECT id FROM p WHERE EXISTS (SELECT 1 FROM o WHERE o.p = p.id)", "1 | 2"),
            ("SELECT id FROM p WHERE id IN (SELECT p FROM o)", "1 | 2"),
            ("SELECT id FROM p WHERE id NOT IN (SELECT p FROM o)", "(none)"),
            ("SELECT id, (SELECT SUM(n) FROM o WHERE o.p = p.id) FROM p", "1, 7 | 2, 7 | 3, null | 4, null"),
            (
                "SELECT (SELECT id FROM p)",
                "!512 Subquery returned more than 1 value. This is not permitted when the subquery follows =, !=, <, <= , >, >= or when the subquery is used as an expression.",
            ),
            ("SELECT x.a FROM (SELECT id * 2 AS a FROM p) x WHERE x.a > 5", "6 | 8"),
            ("SELECT * FROM (VALUES (1, 'a'), (2, 'b')) v (n, t)", "1, \"a\" | 2, \"b\""),
            (
                "WITH c AS (SELECT id FROM p WHERE id < 3) SELECT a.id, b.id FROM c a JOIN c b ON a.id = b.id",
                "1, 1 | 2, 2",
            ),
            ("SELECT 1 UNION ALL SELECT 1 UNION ALL SELECT NULL", "1 | 1 | null"),
            ("SELECT 1 a UNION SELECT 1 UNION SELECT 2 ORDER BY a DESC", "2 | 1"),
            ("SELECT id FROM p EXCEPT SELECT p FROM o", "3 | 4"),
            ("SELECT id FROM p INTERSECT SELECT p FROM o", "1 | 2"),
            ("SELECT id FROM p WHERE price >= ALL (SELECT price FROM p WHERE price IS NOT NULL)", "4"),
            (
                "SELECT a.id, x.n FROM p a CROSS APPLY (SELECT TOP 1 n FROM o WHERE o.p = a.id ORDER BY n) x",
                "1, 2 | 2, 7",
            ),
            ("SELECT kind, SUM(n) FROM p INNER JOIN o ON p.id = o.p GROUP BY kind", "\"f\", 7 | \"v\", 7"),
            ("SELECT id FROM p WITH (NOLOCK) WHERE id = 1 OPTION (RECOMPILE)", "1"),
            ("SELECT id FROM shop.dbo.p WHERE id = 1; SELECT id FROM shop..p WHERE id = 2", "1 ; 2"),
            ("SELECT UPPER(kind), COUNT(*) FROM p WHERE kind IS NOT NULL GROUP BY UPPER(kind)", "\"F\", 2 | \"V\", 1"),
        ],
    );
}

#[test]
fn errors_name_what_is_wrong() {
    let mut s = connect(&server());
    check(
        &mut s,
        &[
            (SETUP, "#4 ; #5"),
            ("SELECT * FROM nosuch", "!208 Invalid object name 'nosuch'."),
            ("SELECT nosuch FROM p", "!207 Invalid column name 'nosuch'."),
            ("SELECT x.id FROM p", "!4104 The multi-part identifier \"x.id\" could not be bound."),
            ("SELECT id FROM p JOIN o ON p.id = o.p", "!209 Ambiguous column name 'id'."),
            (
                "SELECT kind, id FROM p GROUP BY kind",
                "!8120 Column 'p.id' is invalid in the select list because it is not contained in either an aggregate function or the GROUP BY clause.",
            ),
            ("SELEC * FROM p", "!102 Incorrect syntax near '*'."),
            ("SELEC 1", "!2812 Could not find stored procedure 'SELEC'."),
            ("SELECT 1 FROM", "!102 Incorrect syntax near 'FROM'."),
            ("SELECT * FROM p WHERE", "!102 Incorrect syntax near 'WHERE'."),
            ("SELECT (1", "!102 Incorrect syntax near '1'."),
            ("SELECT 'abc", "!105 Unclosed quotation mark after the character string 'abc'."),
            ("SELECT @x", "!137 Must declare the scalar variable \"@x\"."),
            (
                "SELECT id FROM p WHERE id",
                "!4145 An expression of non-boolean type specified in a context where a condition is expected, near 'id'.",
            ),
            (
                "SELECT 1 UNION SELECT 1, 2",
                "!205 All queries combined using a UNION, INTERSECT or EXCEPT operator must have an equal number of expressions in their target lists.",
            ),
            ("KILL 77", "!40517 The SQL Server stand-in does not support the statement KILL."),
            ("EXEC nosuch", "!2812 Could not find stored procedure 'nosuch'."),
            ("USE nosuch", "!911 Database 'nosuch' does not exist. Make sure that the name is entered correctly."),
        ],
    );
}
