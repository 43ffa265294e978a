//! The files in `config/` are what they say.

use std::path::{Path, PathBuf};

use logferry_config::{
    ApplySettings, CopySettings, Login, MemorySettings, RetrySettings, ServerMode, Source, TableFilter, Task, Trust,
    defaults,
};

fn load(name: &str) -> (String, Task) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../config");
    let text = std::fs::read_to_string(folder.join(name)).expect("the file is part of the project");
    let env = |name: &str| (name == "PGPASSWORD").then(|| "secret".to_owned());
    let task = Task::parse(&text, name, Path::new("/etc/logferry"), &env).unwrap_or_else(|e| panic!("{e}"));
    (text, task)
}

#[test]
fn reference_states_the_defaults() {
    let (_, task) = load("reference.yaml");
    let (_, minimal) = load("minimal.yaml");
    assert_eq!(task, minimal, "every key of reference.yaml has the value that holds without it");
    assert_eq!(task.target.on_existing, defaults::ON_EXISTING);
    assert_eq!(task.tables, TableFilter::default());
    assert_eq!(task.transform, logferry_transform::Settings::default());
    assert_eq!(task.copy, CopySettings::default());
    assert_eq!(task.apply, ApplySettings::default());
    assert_eq!(task.memory, MemorySettings::default());
    assert_eq!(task.retry, RetrySettings::default());
}

#[test]
fn reference_names_every_key() {
    let (text, _) = load("reference.yaml");
    // What the parser expects, told by itself: a key that does not exist, in each mapping.
    for section in [
        "",
        "source",
        "source.tls",
        "source.cdc",
        "source.object_storage",
        "target",
        "tables",
        "names",
        "types",
        "copy",
        "apply",
        "memory",
        "retry",
    ] {
        let broken = match section {
            "" => "nonsense: 1\n".to_owned(),
            "source.tls" => "task: a\nsource:\n  tls:\n    nonsense: 1\n".to_owned(),
            "source.cdc" => "task: a\nsource:\n  cdc:\n    nonsense: 1\n".to_owned(),
            "source.object_storage" => "task: a\nsource:\n  object_storage:\n    nonsense: 1\n".to_owned(),
            _ => format!("task: a\n{section}:\n  nonsense: 1\n"),
        };
        let error = Task::parse(&broken, "x.yaml", Path::new(""), &|_| None).expect_err("the key does not exist");
        let said = error.to_string();
        let keys = said.split("expected one of: ").nth(1).and_then(|rest| rest.lines().next());
        for key in keys.unwrap_or_else(|| panic!("no keys in: {said}")).split(", ") {
            let there = text.lines().any(|l| l.trim_start_matches([' ', '#']).starts_with(&format!("{key}:")));
            assert!(there, "reference.yaml does not show {section}.{key}");
        }
    }
}

#[test]
fn paths_count_from_the_file_and_secrets_are_put_in() {
    let (_, task) = load("minimal.yaml");
    let Source::Backup(source) = &task.source else { panic!("files") };
    assert_eq!(source.files, [PathBuf::from("/etc/logferry/backups")]);
    assert_eq!(task.target.url.expose(), "postgres://postgres:secret@localhost:5432/shop");
    assert_eq!(task.target.url.redacted(), "postgres://postgres:******@localhost:5432/shop");
    assert!(!format!("{task:?}").contains("secret"));
}

#[test]
fn a_running_server_is_a_source() {
    let (_, task) = load("snapshot.yaml");
    let Source::Server(source) = &task.source else { panic!("a server") };
    assert_eq!(
        (source.mode, source.port, &source.trust),
        (ServerMode::Snapshot, defaults::SERVER_PORT, &Trust::System)
    );
    assert_eq!((source.answer_seconds, source.cdc_enable), (defaults::ANSWER_SECONDS, false));
    let Login::Sql { password, .. } = &source.login else { panic!("a password") };
    assert_eq!(password.expose(), "secret");
    assert!(!format!("{task:?}").contains("secret"));
}
