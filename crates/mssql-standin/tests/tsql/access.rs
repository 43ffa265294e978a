//! Rows found by key, range or index are those that a look at all rows finds.

use crate::{check, connect, run, server};

/// Pseudo-random numbers that follow from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }

    /// A condition over the key (a, b), the unique column c, the indexed text d and the plain column e.
    fn condition(&mut self, depth: u32) -> String {
        if depth > 0 && self.below(3) > 0 {
            let word = if self.below(2) == 0 { "AND" } else { "OR" };
            return format!("({} {word} {})", self.condition(depth - 1), self.condition(depth - 1));
        }
        let column = ["a", "a", "b", "c", "e"][self.below(5) as usize];
        let sign = ["=", "<", "<=", ">", ">=", "<>"][self.below(6) as usize];
        let value = match self.below(8) {
            0 => "2.5".to_owned(),
            1 => "CAST(3 AS bigint)".to_owned(),
            2 => "NULL".to_owned(),
            3 => "3000000000".to_owned(),
            _ => self.below(7).to_string(),
        };
        match self.below(10) {
            0 => format!("{column} BETWEEN {} AND {value}", self.below(5)),
            1 => format!("d = '{}'", ["x", "X ", "y", "é"][self.below(4) as usize]),
            2 => format!("d = N'{}'", ["x", "Y", "\u{4e2d}"][self.below(3) as usize]),
            3 => {
                let (a, b) = (self.below(6), self.below(6));
                format!("(a > {a} OR a = {a} AND b {sign} {b})")
            }
            4 => format!("{value} {sign} {column}"),
            _ => format!("{column} {sign} {value}"),
        }
    }
}

#[test]
fn narrowed_or_not_the_rows_are_the_same() {
    let server = server();
    let (mut s, mut other) = (connect(&server), connect(&server));
    run(
        &mut s,
        "CREATE TABLE t (a int, b int, c int UNIQUE, d varchar(5), e int, PRIMARY KEY (a, b)); CREATE INDEX ix ON t (d, e)",
    );
    run(
        &mut s,
        "DECLARE @a int = 0, @b int WHILE @a < 6 BEGIN SET @b = 0 WHILE @b < 6 BEGIN INSERT t VALUES (@a, @b, @a * 6 + @b, CHOOSE(@b % 4 + 1, 'x', 'X', 'y', 'é'), @b % 3) SET @b += 1 END SET @a += 1 END",
    );
    // What the transaction itself did, and what another one did that is not committed.
    run(&mut other, "BEGIN TRAN; DELETE t WHERE a = 5 AND b = 5; INSERT t VALUES (9, 9, 99, 'x', 9)");
    run(
        &mut s,
        "BEGIN TRAN; UPDATE t SET c = c + 100, d = 'y' WHERE a = 2; DELETE t WHERE b = 1; UPDATE t SET b = 7 WHERE a = 3 AND b = 3",
    );
    let mut random = Random(20_260_101);
    let mut wrong = Vec::new();
    for _ in 0..600 {
        let condition = random.condition(2);
        let direct = run(&mut s, &format!("SELECT a, b, c, d, e FROM t WHERE {condition} ORDER BY a, b, c"));
        let plain = format!("SELECT a, b, c, d, e FROM (SELECT * FROM t) t WHERE {condition} ORDER BY a, b, c");
        let expect = run(&mut s, &plain);
        if direct != expect {
            wrong.push(format!("{condition}\n  expected {expect}\n  found    {direct}"));
        }
    }
    assert!(wrong.is_empty(), "{} conditions differ, the first: {}", wrong.len(), wrong[0]);
}

#[test]
fn indexes_follow_changes_and_what_is_undone() {
    let server = server();
    let (mut a, mut b) = (connect(&server), connect(&server));
    check(
        &mut a,
        &[
            (
                "CREATE TABLE p (id int PRIMARY KEY, code int CONSTRAINT UQ UNIQUE); CREATE TABLE c (id int PRIMARY KEY, code int CONSTRAINT FK REFERENCES p (code))",
                "",
            ),
            ("INSERT p VALUES (1, 10), (2, 20); INSERT c VALUES (1, 10)", "#2 ; #1"),
            (
                "SELECT id FROM p WHERE code = 10; UPDATE p SET code = 30 WHERE id = 2; SELECT id FROM p WHERE code = 20; SELECT id FROM p WHERE code = 30",
                "1 ; #1 ; (none) ; 2",
            ),
            (
                "BEGIN TRAN; UPDATE p SET code = 40 WHERE id = 2; ROLLBACK; SELECT id FROM p WHERE code = 40; SELECT id FROM p WHERE code = 30",
                "#1 ; (none) ; 2",
            ),
            (
                "BEGIN TRAN; DELETE p WHERE id = 2; INSERT p VALUES (3, 30); COMMIT; SELECT id FROM p WHERE code = 30",
                "#1 ; #1 ; 3",
            ),
            (
                "UPDATE p SET code = 10 WHERE id = 3",
                "!2627 Violation of UNIQUE KEY constraint 'UQ'. Cannot insert duplicate key in object 'dbo.p'. The duplicate key value is (10).",
            ),
            (
                "DELETE p WHERE id = 1",
                "!547 The DELETE statement conflicted with the REFERENCE constraint \"FK\". The conflict occurred in database \"shop\", table \"dbo.c\", column 'code'.",
            ),
            (
                "INSERT c VALUES (2, 11)",
                "!547 The INSERT statement conflicted with the FOREIGN KEY constraint \"FK\". The conflict occurred in database \"shop\", table \"dbo.p\", column 'code'.",
            ),
            ("DELETE c; DELETE p WHERE id = 1; INSERT p VALUES (5, 10)", "#1 ; #1 ; #1"),
            ("SET TRANSACTION ISOLATION LEVEL SNAPSHOT; BEGIN TRAN; SELECT id FROM p WHERE code = 10", "5"),
        ],
    );
    check(&mut b, &[("UPDATE p SET code = 11 WHERE code = 10; SELECT id FROM p WHERE code = 11", "#1 ; 5")]);
    check(
        &mut a,
        &[(
            "SELECT id FROM p WHERE code = 10; SELECT id FROM p WHERE code = 11; COMMIT; SELECT id FROM p WHERE code = 11",
            "5 ; (none) ; 5",
        )],
    );
    // A value that another open transaction has put in is waited for.
    check(&mut b, &[("BEGIN TRAN; INSERT p VALUES (6, 66)", "#1")]);
    check(
        &mut a,
        &[(
            "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCK_TIMEOUT 20; INSERT p VALUES (7, 66)",
            "!1222 Lock request time out period exceeded.",
        )],
    );
    check(&mut b, &[("ROLLBACK", "")]);
    check(&mut a, &[("INSERT p VALUES (7, 66)", "#1")]);
}
