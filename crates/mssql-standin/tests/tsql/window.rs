//! Window functions, and statements that begin with WITH.

use crate::{check, connect, server};

#[test]
fn windows() {
    check(
        &mut connect(&server()),
        &[
            (
                "CREATE TABLE t (id int PRIMARY KEY, g int, v int); INSERT t VALUES (1,1,10),(2,1,20),(3,2,5),(4,2,5),(5,2,7)",
                "#5",
            ),
            (
                "SELECT id, ROW_NUMBER() OVER (PARTITION BY g ORDER BY v DESC, id), RANK() OVER (ORDER BY v), DENSE_RANK() OVER (ORDER BY v), COUNT(*) OVER (), SUM(v) OVER (PARTITION BY g ORDER BY v) FROM t ORDER BY id",
                "1, 2, 4, 3, 5, 10 | 2, 1, 5, 4, 5, 30 | 3, 2, 1, 1, 5, 10 | 4, 3, 1, 1, 5, 10 | 5, 1, 3, 2, 5, 17",
            ),
            (
                "SELECT id, LAG(v, 1, -1) OVER (ORDER BY id), LEAD(v) OVER (ORDER BY id), FIRST_VALUE(v) OVER (PARTITION BY g ORDER BY id), NTILE(2) OVER (ORDER BY id) FROM t",
                "1, -1, 20, 10, 1 | 2, 10, 5, 10, 1 | 3, 20, 5, 5, 1 | 4, 5, 7, 5, 2 | 5, 5, null, 5, 2",
            ),
            (
                "SELECT id, LAST_VALUE(v) OVER (ORDER BY id ROWS BETWEEN CURRENT ROW AND UNBOUNDED FOLLOWING), SUM(v) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND 1 FOLLOWING), MIN(v) OVER (ORDER BY id ROWS 1 PRECEDING) FROM t",
                "1, 7, 30, 10 | 2, 7, 35, 10 | 3, 7, 30, 5 | 4, 7, 17, 5 | 5, 7, 12, 5",
            ),
            (
                "SELECT * FROM (SELECT id, ROW_NUMBER() OVER (ORDER BY id DESC) n FROM t) x WHERE n BETWEEN 2 AND 3",
                "3, 3 | 4, 2",
            ),
            (
                "SELECT g, COUNT(*), ROW_NUMBER() OVER (ORDER BY SUM(v) DESC) FROM t GROUP BY g ORDER BY 3",
                "1, 2, 1 | 2, 3, 2",
            ),
            ("SELECT TOP 2 id FROM t ORDER BY ROW_NUMBER() OVER (ORDER BY v, id DESC)", "4 | 3"),
            ("SELECT (SELECT TOP 1 ROW_NUMBER() OVER (ORDER BY u.id) + t.id FROM t u) FROM t WHERE id < 3", "2 | 3"),
            (
                "SELECT id FROM t WHERE ROW_NUMBER() OVER (ORDER BY id) = 1",
                "!4108 Windowed functions can only appear in the SELECT or ORDER BY clauses.",
            ),
            (
                "SELECT ROW_NUMBER() OVER () FROM t",
                "!4112 The function 'ROW_NUMBER' must have an OVER clause with ORDER BY.",
            ),
        ],
    );
}

#[test]
fn statements_with_table_expressions() {
    check(
        &mut connect(&server()),
        &[
            ("CREATE TABLE t (id int PRIMARY KEY, v int); INSERT t VALUES (1, 1), (2, 2)", "#2"),
            ("WITH x AS (SELECT id FROM t WHERE id = 1) DELETE FROM t WHERE id IN (SELECT id FROM x)", "#1"),
            ("WITH y AS (SELECT 50 a) INSERT t SELECT a, a FROM y", "#1"),
            (
                "WITH z AS (SELECT 50 id, 9 n) UPDATE t SET v = n FROM t JOIN z ON z.id = t.id; SELECT * FROM t",
                "#1 ; 2, 2 | 50, 9",
            ),
        ],
    );
}
