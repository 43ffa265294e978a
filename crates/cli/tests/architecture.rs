//! Rules of the project that a machine can check: who may depend on whom, and under which licences.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

use serde_json::Value;

/// What each crate may know. Arrows go down only.
const ALLOWED: &[(&str, &[&str])] = &[
    ("logferry-model", &[]),
    ("logferry-mssql-format", &["model"]),
    ("logferry-object-storage", &[]),
    ("logferry-mssql-backup", &["model", "mssql-format", "object-storage"]),
    ("logferry-mssql-live", &["model", "mssql-format"]),
    ("logferry-transform", &["model", "mssql-format"]),
    ("logferry-pg-apply", &["model"]),
    ("logferry-config", &["model", "transform"]),
    ("logferry-pipeline", &["model", "transform", "pg-apply", "config"]),
    ("logferry-mssql-standin-storage", &["model", "mssql-format"]),
    ("logferry-mssql-standin", &["model", "mssql-format", "mssql-standin-storage"]),
    ("logferry-testkit", &["model", "mssql-format"]),
    // The only place that wires. The demo makes its own data and its own PostgreSQL.
    (
        "logferry",
        &[
            "model",
            "mssql-format",
            "mssql-backup",
            "mssql-live",
            "object-storage",
            "transform",
            "pg-apply",
            "config",
            "pipeline",
            "testkit",
            "mssql-standin",
            "mssql-standin-storage",
        ],
    ),
];

fn metadata(more: &[&str]) -> Value {
    let manifest = concat!(env!("CARGO_MANIFEST_DIR"), "/../../Cargo.toml");
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--manifest-path", manifest])
        .args(more)
        .output()
        .expect("cargo runs, it has built this test");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("cargo prints JSON")
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value[key].as_str().unwrap_or_default()
}

#[test]
fn crates_know_only_what_is_below_them() {
    let metadata = metadata(&["--no-deps"]);
    let allowed: BTreeMap<&str, BTreeSet<String>> =
        ALLOWED.iter().map(|(name, to)| (*name, to.iter().map(|t| format!("logferry-{t}")).collect())).collect();
    for package in list(&metadata, "packages") {
        let name = text(package, "name");
        if text(package, "manifest_path").contains("/tests/") {
            // What crosses crates is tested there: they may know everything.
            continue;
        }
        let Some(allowed) = allowed.get(name) else { panic!("crate {name} is not in the list of this test") };
        for dependency in list(package, "dependencies") {
            let on = text(dependency, "name");
            let is_ours = on == "logferry" || on.starts_with("logferry-");
            if is_ours && dependency["kind"].is_null() {
                assert!(allowed.contains(on), "crate {name} must not know {on}");
            }
        }
    }
}

#[test]
fn both_databases_clients_stay_where_they_belong() {
    let metadata = metadata(&["--no-deps"]);
    for package in list(&metadata, "packages") {
        let name = text(package, "name");
        let may = ["logferry-pg-apply", "logferry-testkit"].contains(&name);
        for dependency in list(package, "dependencies") {
            // What crosses crates is tested there: as a client of its own.
            let outside = text(package, "manifest_path").contains("/tests/");
            if text(dependency, "name") == "tokio-postgres" && dependency["kind"].is_null() {
                assert!(may || outside, "crate {name} must not speak to PostgreSQL");
            }
            if text(dependency, "name") == "tiberius" && dependency["kind"].is_null() {
                let may = name == "logferry-mssql-live";
                assert!(may || outside, "crate {name} must not speak to SQL Server");
            }
        }
    }
}

/// Licences that ask for no more than their text to be kept.
const PERMISSIVE: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "Unicode-3.0",
    "Zlib",
];

/// Whether an expression like `(MIT OR Apache-2.0) AND Unicode-3.0` can be met by permissive licences alone.
fn is_permissive(expression: &str) -> bool {
    let expression = expression.replace('/', " OR ");
    let split = |text: &str, by: &str| -> Vec<String> {
        let (mut parts, mut depth, mut part) = (vec![], 0, String::new());
        for word in text.replace('(', " ( ").replace(')', " ) ").split_whitespace() {
            depth += i32::from(word == "(") - i32::from(word == ")");
            if depth == 0 && word == by {
                parts.push(std::mem::take(&mut part));
            } else {
                part.push_str(word);
                part.push(' ');
            }
        }
        parts.push(part);
        parts
    };
    let any = split(&expression, "OR");
    any.iter().any(|alternative| {
        split(alternative, "AND").iter().all(|part| {
            let part = part.trim();
            match part.strip_prefix('(').and_then(|p| p.strip_suffix(')')) {
                Some(inner) => is_permissive(inner),
                None => PERMISSIVE.contains(&part),
            }
        })
    })
}

#[test]
fn dependencies_are_under_permissive_licences() {
    assert!(is_permissive("MIT/Apache-2.0") && is_permissive("(MIT OR GPL-3.0) AND Unicode-3.0"));
    assert!(!is_permissive("MIT AND GPL-3.0") && !is_permissive(""));
    let metadata = metadata(&["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let needed: BTreeSet<&str> = list(&metadata["resolve"], "nodes").iter().map(|n| text(n, "id")).collect();
    let wrong: Vec<String> = list(&metadata, "packages")
        .iter()
        .filter(|p| needed.contains(text(p, "id")) && !is_permissive(text(p, "license")))
        .map(|p| format!("{} {}: \"{}\"", text(p, "name"), text(p, "version"), text(p, "license")))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// What our own crates depend on, by what a lock file says.
fn locked_dependencies(lock: &str) -> BTreeMap<String, BTreeSet<String>> {
    let value =
        |line: &str| line.split('"').nth(1).unwrap_or_default().split(' ').next().unwrap_or_default().to_owned();
    let packages = lock.split("[[package]]").skip(1).map(|package| {
        let name = package.lines().find(|line| line.starts_with("name = ")).map(value).unwrap_or_default();
        (name, package.lines().filter(|line| line.starts_with(" \"")).map(value).collect())
    });
    packages.filter(|(name, _): &(String, _)| name.starts_with("logferry-")).collect()
}

/// Those that stand outside of the workspace have lock files of their own, which nobody writes anew by building the rest.
#[test]
fn lock_files_outside_of_the_workspace_fit() {
    let metadata = metadata(&["--no-deps"]);
    let needs = |package: &Value| -> BTreeSet<String> {
        let always = |of: &&Value| of["kind"].is_null() && of["optional"] == false && of["target"].is_null();
        list(package, "dependencies").iter().filter(always).map(|of| text(of, "name").to_owned()).collect()
    };
    let ours: BTreeMap<&str, BTreeSet<String>> =
        list(&metadata, "packages").iter().map(|package| (text(package, "name"), needs(package))).collect();
    for folder in ["tests/docker", "tests/clients-slow", "tests/fuzz/libfuzzer"] {
        let path = format!("{}/../../{folder}/Cargo.lock", env!("CARGO_MANIFEST_DIR"));
        let theirs = locked_dependencies(&std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}")));
        let shared = theirs.iter().filter_map(|(name, has)| Some((name, has, ours.get(name.as_str())?)));
        let shared: Vec<_> = shared.collect();
        assert!(!shared.is_empty(), "{folder} uses none of our crates");
        for (name, has, needs) in shared {
            let missing: Vec<_> = needs.difference(has).collect();
            assert!(
                missing.is_empty(),
                "{folder}/Cargo.lock: {name} lacks {missing:?}; cargo metadata in that folder mends it"
            );
        }
    }
}

/// Where a benchmark pays for it, and nowhere else.
#[test]
fn unsafe_code_stands_in_one_place() {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut left = vec![crates.clone()];
    let mut found = Vec::new();
    // Spelled so that this file is none of those found.
    let allows = ["allow", "expect", "warn"].map(|level| format!("{level}({})", ["unsafe", "code"].join("_")));
    while let Some(folder) = left.pop() {
        for entry in folder.read_dir().unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                left.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let source = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
                if allows.iter().any(|allow| source.contains(allow)) {
                    found.push(path.strip_prefix(&crates).expect("it is below").to_owned());
                }
            }
        }
    }
    assert_eq!(found, [Path::new("mssql-backup/src/store/prefetch.rs")]);
}
