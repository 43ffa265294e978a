//! Programs of others copy a database from the stand-in to PostgreSQL: their catalog queries work, and every value arrives.
//!
//! `crates/mssql-standin/tests/clients/setup` installs them; where one is missing its test says so and is not run. With
//! `LOGFERRY_CLIENTS=required`, as in CI, missing is failing.

use std::path::{Path, PathBuf};
use std::process::Command;

use logferry_e2e::Target;
use logferry_mssql_standin::serve::{Standin, StandinConfig};

const MADE: &[&str] = &[
    "CREATE DATABASE shop",
    "USE shop
     CREATE TABLE dbo.customer (
         id int IDENTITY PRIMARY KEY, name nvarchar(50) NOT NULL, email varchar(100), born date, balance decimal(18,4),
         active bit NOT NULL DEFAULT 1, made datetime2 NOT NULL DEFAULT GETDATE(), uid uniqueidentifier, raw varbinary(20),
         f float, CONSTRAINT uq_customer_email UNIQUE (email, id))
     CREATE TABLE dbo.orders (
         id bigint PRIMARY KEY, customer_id int NOT NULL REFERENCES dbo.customer (id), total money, note nvarchar(max))
     CREATE INDEX ix_orders_customer ON dbo.orders (customer_id)",
    "USE shop
     INSERT dbo.customer (name, email, born, balance, made, uid, raw, f) VALUES
         (N'Zoë', 'z@x', '2001-02-03', -12.3456, '2020-02-29 10:11:12.125', '04030201-0605-0807-090A-0B0C0D0E0F10', 0x00FF, 1.5),
         (N'Ä ß €', NULL, NULL, NULL, '2000-01-01', NULL, NULL, NULL)
     INSERT dbo.orders VALUES (1, 1, 19.99, N'first'), (2, 2, NULL, NULL), (3, 2, -0.01, N'')",
];

fn standin() -> Standin {
    // Without signs that URLs would have to escape.
    let config = StandinConfig { password: "peers".to_owned(), ..StandinConfig::default() };
    let standin = Standin::with(config).expect("a stand-in starts");
    MADE.iter().for_each(|sql| standin.batch(sql).expect(sql));
    standin
}

fn present(program: &Path) -> bool {
    let present = Command::new(program).arg("--version").output().is_ok();
    if !present {
        let text = format!("{} is missing: run crates/mssql-standin/tests/clients/setup", program.display());
        assert!(std::env::var_os("LOGFERRY_CLIENTS").is_none_or(|value| value != "required"), "{text}");
        eprintln!("SKIPPED: {text}");
    }
    present
}

async fn succeeds(mut command: Command) -> String {
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic").expect("it starts");
    let said = format!("{}\n{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
    said
}

async fn check(target: &Target, schema: &str, flag: &str) {
    let customers = format!(
        "SELECT string_agg(concat_ws('|', id, name, email, born, balance::numeric(18,4), {flag}, to_char(made::timestamp, 'YYYY-MM-DD HH24:MI:SS.MS'), lower(uid::text), raw, f), E'\\n' ORDER BY id) FROM {schema}.customer"
    );
    assert_eq!(
        target.ask(&customers).await,
        "1|Zoë|z@x|2001-02-03|-12.3456|1|2020-02-29 10:11:12.125|04030201-0605-0807-090a-0b0c0d0e0f10|\\x00ff|1.5\n2|Ä ß €|1|2000-01-01 00:00:00.000"
    );
    let orders = format!(
        "SELECT string_agg(concat_ws('|', id, customer_id, total::numeric(19,4), coalesce(note, 'NULL')), E'\\n' ORDER BY id) FROM {schema}.orders"
    );
    let said = target.ask(&orders).await;
    assert!(said.starts_with("1|1|19.9900|first\n2|2|NULL\n3|2|-0.0100|"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn pgloader() {
    if !present(Path::new("pgloader")) {
        return;
    }
    let (standin, target) = (standin(), Target::new());
    let folder = tempfile::tempdir().expect("a folder");
    let settings = folder.path().join("freetds.conf");
    std::fs::write(&settings, "[global]\ntds version = 7.4\nclient charset = UTF-8\n").expect("it is written");
    let mut command = Command::new("pgloader");
    command.env("FREETDSCONF", settings).env("TDSPORT", standin.address().port().to_string()).env("TZ", "UTC");
    command.arg(format!("mssql://{}:{}@127.0.0.1/shop", standin.user(), standin.password()));
    command.arg(target.database.url().replace("postgres://", "postgresql://"));
    let said = succeeds(command).await;
    assert!(!said.contains("ERROR"), "{said}");
    check(&target, "dbo", "active::int").await;
    // What it reads of keys and indexes.
    let keys = "SELECT string_agg(concat_ws(' ', conrelid::regclass, contype), ', ' ORDER BY conrelid::regclass::text, contype) FROM pg_constraint WHERE contype IN ('p', 'f') AND connamespace = 'dbo'::regnamespace";
    assert_eq!(target.ask(keys).await, "dbo.customer p, dbo.orders f, dbo.orders p");
    let indexes = "SELECT string_agg(regexp_replace(indexname, '.*ix_|.*uq_', ''), ', ' ORDER BY 1) FROM pg_indexes WHERE schemaname = 'dbo' AND indexname ~ 'ix_|uq_'";
    let said = target.ask(indexes).await;
    assert!(said.contains("orders_customer") && said.contains("customer_email"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sling() {
    let clients = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent").join("clients");
    let program = clients.join("sling");
    if !present(&program) {
        return;
    }
    let (standin, target) = (standin(), Target::new());
    let folder = tempfile::tempdir().expect("a folder");
    let streams: PathBuf = folder.path().join("copy.yaml");
    let copy = "source: SOURCE\ntarget: TARGET\ndefaults:\n  mode: full-refresh\n  object: public.{stream_table}\nstreams:\n  dbo.*:\n";
    std::fs::write(&streams, copy).expect("it is written");
    let mut command = Command::new(program);
    command.env("HOME", folder.path()).env("SLING_DISABLE_TELEMETRY", "true").env("TZ", "UTC");
    let (user, password, address) = (standin.user(), standin.password(), standin.address());
    command.env("SOURCE", format!("sqlserver://{user}:{password}@{address}?database=shop&encrypt=disable"));
    command.env("TARGET", format!("{}?sslmode=disable", target.database.url()));
    command.args(["run", "-r"]).arg(&streams);
    succeeds(command).await;
    check(&target, "public", "active").await;
}
