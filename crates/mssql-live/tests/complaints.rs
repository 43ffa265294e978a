//! The map of complaints, `complaints.md`: each has tests that exist, or a reason why there is none.

use std::path::Path;

const COMPLAINTS: usize = 49;

/// Where a test of the map is: the path of its file from the root of the project, and its name.
fn place(test: &str) -> Option<(String, &str)> {
    let (path, name) = test.split_once("::")?;
    let short = [
        ("live/", "crates/mssql-live/tests/live/"),
        ("cli/", "crates/cli/tests/"),
        ("target/", "crates/pg-apply/tests/target/"),
        ("conversion/", "crates/transform/tests/conversion/"),
        ("e2e/", "tests/e2e/tests/"),
        ("src/", "crates/mssql-live/src/"),
    ];
    let whole = short.iter().find_map(|(begin, whole)| Some(format!("{whole}{}", path.strip_prefix(begin)?)));
    Some((whole.unwrap_or_else(|| path.to_owned()), name))
}

#[test]
fn every_complaint_has_a_test_or_a_reason() {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    let map = std::fs::read_to_string(own.join("tests/complaints.md")).expect("the map");
    let lines: Vec<Vec<&str>> = map
        .lines()
        .map(|line| line.split('|').map(str::trim).collect::<Vec<_>>())
        .filter(|cells| cells.get(1).is_some_and(|number| number.parse::<usize>().is_ok()))
        .collect();
    let numbers: Vec<usize> = lines.iter().map(|cells| cells[1].parse().expect("a number")).collect();
    assert_eq!(numbers, (1..=COMPLAINTS).collect::<Vec<_>>());
    let mut missing = Vec::new();
    for cells in &lines {
        let (tests, reason) = cells[4].split_once(';').unwrap_or((cells[4], ""));
        let named: Vec<_> = tests.split_whitespace().filter_map(place).collect();
        // Without a test the cell is a reason.
        assert!(!named.is_empty() || cells[4].contains("not built yet"), "complaint {}: {}", cells[1], cells[4]);
        assert!(!reason.contains("::"), "complaint {}: tests come before reasons", cells[1]);
        for (path, name) in named {
            let text = std::fs::read_to_string(own.join("../..").join(&path)).unwrap_or_default();
            // Parts of the suite for any server are named in a list.
            if !text.contains(&format!("fn {name}(")) && !text.contains(&format!("    {name}: \"")) {
                missing.push(format!("{}: {path}::{name}", cells[1]));
            }
        }
    }
    assert!(missing.is_empty(), "tests that are not there: {missing:#?}");
}
