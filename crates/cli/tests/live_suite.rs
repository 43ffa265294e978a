//! The suite that any SQL Server must pass, on the stand-in. On a real one: `tests/docker/run`.

use std::path::PathBuf;

use logferry_live_suite::{PARTS, Part, Rig, Server, Target};
use logferry_mssql_standin::serve::Standin;
use logferry_testkit::postgres::PrivatePostgres;

/// Runs a part of the suite on a server and a target of its own.
fn check(part: &str) {
    let part = Part::named(part);
    let standin = Standin::start().expect("a stand-in");
    let database = PrivatePostgres::shared().create_database().expect("a database");
    let rig = Rig {
        server: Server {
            host: "127.0.0.1".to_owned(),
            port: standin.address().port(),
            user: standin.user().to_owned(),
            password: standin.password().to_owned(),
        },
        target: Target { url: database.url() },
        logferry: PathBuf::from(env!("CARGO_BIN_EXE_logferry")),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(part.run(&rig));
}

macro_rules! parts {
    ($($test:ident: $part:literal,)*) => {
        $(#[test]
        fn $test() {
            check($part);
        })*

        #[test]
        fn no_part_is_forgotten() {
            let names: Vec<&str> = PARTS.iter().map(|part| part.name).collect();
            assert_eq!(names, [$($part),*]);
        }
    };
}

parts! {
    types_are_copied: "types snapshot",
    types_are_followed_by_the_log: "types log",
    types_are_followed_by_change_data_capture: "types cdc",
    types_are_followed_by_both: "types hybrid",
    a_history_is_followed_by_the_log: "history log",
    a_history_is_followed_by_change_data_capture: "history cdc",
    a_history_is_followed_by_both: "history hybrid",
    maintenance_is_followed_by_the_log: "maintenance log",
    maintenance_is_followed_by_change_data_capture: "maintenance cdc",
    maintenance_is_followed_by_both: "maintenance hybrid",
}
