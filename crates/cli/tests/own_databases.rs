//! All databases of a folder, each into a PostgreSQL database of its own.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use logferry_mssql_standin_storage::workload::{WorkloadOptions, generate_chain};
use logferry_testkit::postgres::PrivatePostgres;

fn chain(name: &str, seed: u64, folder: &Path) {
    let mut options = WorkloadOptions { initial_rows: 50, steps: 50, logs: 2, ..WorkloadOptions::default() };
    options.database.name = name.to_owned();
    generate_chain(seed, &options, folder).expect("a chain");
}

fn run(folder: &Path, url: &str, more: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_logferry"))
        .args(["run", "--to", url, "--database", "*"])
        .args(more)
        .arg("--from")
        .arg(folder)
        .stdin(Stdio::null())
        .output()
        .expect("the binary runs")
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

/// Names of the tables of a schema in a database, and the rows of all of them.
async fn tables(postgres: &PrivatePostgres, database: &str, schema: &str) -> Vec<(String, i64)> {
    let (client, connection) = tokio_postgres::connect(
        &postgres.url_of(&database.replace('"', "%22").replace(' ', "%20")),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap_or_else(|e| panic!("no database {database}: {e}"));
    tokio::spawn(connection);
    let sql = "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1";
    let mut all = Vec::new();
    for row in client.query(sql, &[&schema]).await.expect("the tables") {
        let table: String = row.get(0);
        let schema = schema.replace('"', "\"\"");
        let sql = format!("SELECT count(*) FROM \"{schema}\".\"{table}\"");
        let count = client.query_one(&sql, &[]).await.expect("rows");
        all.push((table, count.get(0)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn each_database_goes_to_one_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    chain("Shop", 21, folder.path());
    chain("stock \"1\"", 22, folder.path());
    let postgres = PrivatePostgres::shared();
    let together = postgres.create_database().expect("a database");
    let output = run(folder.path(), &together.url(), &[]);
    assert!(output.status.success(), "{}", said(&output));
    let first = postgres.create_database().expect("a database");
    // The second time the databases are there, and there is nothing to do.
    for _ in 0..2 {
        let output = run(folder.path(), &first.url(), &["--own-databases"]);
        assert!(output.status.success(), "{}", said(&output));
    }
    for name in ["shop", "stock \"1\""] {
        let expect = tables(postgres, together.name(), name).await;
        assert!(expect.iter().any(|(_, rows)| *rows > 0), "{expect:?}");
        assert_eq!(tables(postgres, name, "dbo").await, expect, "{name}");
    }
    assert_eq!(tables(postgres, first.name(), "dbo").await, []);

    postgres.execute("CREATE ROLE poor LOGIN PASSWORD 'poor'").expect("a role");
    postgres.execute("DROP DATABASE shop WITH (FORCE)").expect("it is there");
    let url = first.url();
    let (_, rest) = url.split_once('@').expect("a user");
    let output = run(folder.path(), &format!("postgres://poor:poor@{rest}"), &["--own-databases"]);
    assert!(!output.status.success(), "{}", said(&output));
    let text = said(&output);
    assert!(text.contains("could not make database \"shop\"") && text.contains("permission denied"), "{text}");
}
