//! `logferry init`: the least task of a source, and the least rights of its two accounts, as text to read, change and keep.
//!
//! Nothing is connected to and nothing is written: what is printed goes where its reader puts it. Rights are those that the documentation of
//! each object names; the reasons stand beside them.

use std::io::Write;
use std::process::ExitCode;

use crate::args::{Init, InitMode};
use crate::failure::Failed;
use crate::output::Out;

pub(crate) fn perform(args: &Init, json: bool, out: &mut Out) -> Result<ExitCode, Failed> {
    let parts = if args.grants {
        vec![("source", source_rights(args)), ("target", target_rights(args))]
    } else {
        vec![("task", task(args))]
    };
    if json {
        let object: serde_json::Map<String, serde_json::Value> =
            parts.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect();
        out.json(&object)?;
    } else {
        let texts: Vec<String> = parts.into_iter().map(|(_, text)| text).collect();
        out.write_all(texts.join("\n").as_bytes())?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A name in brackets, for T-SQL.
fn bracketed(name: &str) -> String {
    format!("[{}]", name.replace(']', "]]"))
}

/// A text for T-SQL.
fn text(value: &str) -> String {
    format!("N'{}'", value.replace('\'', "''"))
}

/// A name for PostgreSQL.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A scalar for YAML: JSON's strings are strings of YAML.
fn scalar(value: &str) -> String {
    serde_json::Value::from(value.replace('$', "$$")).to_string()
}

fn task(args: &Init) -> String {
    let Init { mode, host, port, database, user, .. } = args;
    // 1 to 63 letters, digits and a few signs: what else is in the database's name becomes "_".
    let name: String = database
        .chars()
        .take(63)
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
        .collect();
    let address = port.map(|port| format!("\n  port: {port}")).unwrap_or_default();
    format!(
        "# All keys, with their defaults: config/reference.yaml. The rights that it takes: logferry init --grants\n\
         task: {name}\n\
         source:\n  mode: {}\n  host: {}{address}\n  database: {}\n  user: {}\n  password: ${{MSSQL_PASSWORD}}\n  \
         # Where the server made its certificate itself:\n  # tls: {{pinned: server.pem}}\n\
         target:\n  url: postgres://{}:${{PGPASSWORD}}@{}:{}/{}\n",
        mode.name(),
        scalar(host),
        scalar(database),
        scalar(user),
        percent(&args.target_user),
        args.target_host,
        args.target_port,
        percent(&target_database(args)),
    )
}

fn target_database(args: &Init) -> String {
    args.target_database.clone().unwrap_or_else(|| args.database.to_lowercase())
}

/// A part of a URL.
fn percent(part: &str) -> String {
    part.bytes()
        .map(|b| match b {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'-' | b'_' | b'.' | b'~' => char::from(b).to_string(),
            b => format!("%{b:02X}"),
        })
        .collect()
}

fn source_rights(args: &Init) -> String {
    let (database, user) = (bracketed(&args.database), bracketed(&args.user));
    let mut out = format!(
        "-- SQL Server, as a sysadmin: the account of the source, mode {}.\n\
         USE [master];\n\
         CREATE LOGIN {user} WITH PASSWORD = N'<a strong password>';\n",
        args.mode.name()
    );
    let mut say = |line: &str| {
        out.push_str(line);
        out.push('\n');
    };
    match args.mode {
        InitMode::Snapshot => {}
        InitMode::Log | InitMode::Hybrid => {
            say(
                "-- Which transactions are open: sys.dm_tran_database_transactions. (2022 and later: VIEW SERVER PERFORMANCE STATE will do.)",
            );
            say(&format!("GRANT VIEW SERVER STATE TO {user};"));
            say(
                "-- The log holds all rows from here on; until a full backup is made it is cut off at every checkpoint.",
            );
            say(&format!("ALTER DATABASE {database} SET RECOVERY FULL;"));
        }
        InitMode::Cdc => {
            say(
                "-- For tables without a key, and other unique keys than the one that rows are found by: where a transaction begins in the log,",
            );
            say("-- sys.dm_tran_database_transactions. (2022 and later: VIEW SERVER PERFORMANCE STATE will do.)");
            say(&format!("GRANT VIEW SERVER STATE TO {user};"));
        }
    }
    if args.mode != InitMode::Snapshot {
        say("-- Rows are read as of one moment, and nobody waits for it.");
    } else {
        say("-- Or READ_COMMITTED_SNAPSHOT; without either the copy waits for writers, and may miss rows that move.");
    }
    say(&format!("ALTER DATABASE {database} SET ALLOW_SNAPSHOT_ISOLATION ON;"));
    say(&format!("USE {database};"));
    say(&format!("CREATE USER {user} FOR LOGIN {user};"));
    match args.mode {
        InitMode::Snapshot | InitMode::Cdc => {
            say(
                "-- The rows, and the catalog's view of them. Narrower: GRANT SELECT ON SCHEMA::... or ON table by table.",
            );
            say(&format!("GRANT SELECT TO {user};"));
            say("-- Definitions of defaults, checks and computed columns.");
            say(&format!("GRANT VIEW DEFINITION TO {user};"));
            say(
                "-- How large tables are: sys.dm_db_partition_stats. (2022 and later: VIEW DATABASE PERFORMANCE STATE will do.)",
            );
            say(&format!("GRANT VIEW DATABASE STATE TO {user};"));
        }
        InitMode::Log => {
            say("-- Only members of db_owner may read sys.fn_dblog. logferry changes nothing with it.");
            say(&format!("ALTER ROLE db_owner ADD MEMBER {user};"));
        }
        InitMode::Hybrid => {
            say(
                "-- Reads sys.fn_dblog; makes the trigger logferry_ddl, the tables logferry_heartbeat and logferry_ddl_history, and",
            );
            say("-- capture instances of the tables that the log alone does not serve.");
            say(&format!("ALTER ROLE db_owner ADD MEMBER {user};"));
            say("EXEC sys.sp_cdc_enable_db;");
        }
    }
    if args.mode == InitMode::Cdc {
        say("-- Change data capture, and what it has captured. A table takes:");
        say("--   EXEC sys.sp_cdc_enable_table @source_schema = N'dbo', @source_name = N'Orders', @role_name = NULL;");
        say("EXEC sys.sp_cdc_enable_db;");
        say(&format!("GRANT SELECT, EXECUTE ON SCHEMA::[cdc] TO {user};"));
    }
    if matches!(args.mode, InitMode::Cdc | InitMode::Hybrid) {
        say("-- Whether the capture job is there, and how it is set.");
        say("USE [msdb];");
        say(&format!("CREATE USER {user} FOR LOGIN {user};"));
        say(&format!("GRANT SELECT ON OBJECT::dbo.cdc_jobs TO {user};"));
    }
    if matches!(args.mode, InitMode::Log | InitMode::Hybrid) {
        say("-- Which log backups there are, should the log be truncated before it is read.");
        if args.mode == InitMode::Log {
            say("USE [msdb];");
            say(&format!("CREATE USER {user} FOR LOGIN {user};"));
        }
        say(&format!("GRANT SELECT ON OBJECT::dbo.backupset TO {user};"));
        say(&format!("GRANT SELECT ON OBJECT::dbo.backupmediafamily TO {user};"));
    }
    say(&format!(
        "-- Check: EXECUTE AS LOGIN = {}; SELECT * FROM fn_my_permissions(NULL, 'DATABASE'); REVERT;",
        text(&args.user)
    ));
    out
}

fn target_rights(args: &Init) -> String {
    let (database, user) = (quoted(&target_database(args)), quoted(&args.target_user));
    format!(
        "-- PostgreSQL, as a superuser: the account of the target.\n\
         CREATE ROLE {user} LOGIN PASSWORD '<a strong password>';\n\
         CREATE DATABASE {database};\n\
         -- It makes the schema \"logferry\", in which it keeps its position, and the schemas and tables of the source, which it then owns.\n\
         GRANT CONNECT, CREATE, TEMPORARY ON DATABASE {database} TO {user};\n\
         -- Triggers and foreign keys do not fire for replicated rows: PostgreSQL 15 and later. Before, only a superuser may set it;\n\
         -- without it a note says so, and what is declared on the target fires.\n\
         GRANT SET ON PARAMETER session_replication_role TO {user};\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(mode: InitMode, database: &str) -> Init {
        Init {
            mode,
            host: "db.example.com".to_owned(),
            port: None,
            database: database.to_owned(),
            user: "o'neil]".to_owned(),
            target_host: "localhost".to_owned(),
            target_port: 5432,
            target_database: Some("sh\"op".to_owned()),
            target_user: "log ferry".to_owned(),
            grants: false,
        }
    }

    #[test]
    fn names_are_quoted_in_every_language() {
        let args = args(InitMode::Log, "My Shop");
        let (source, target) = (source_rights(&args), target_rights(&args));
        assert!(source.contains("CREATE USER [o'neil]]] FOR LOGIN [o'neil]]];"), "{source}");
        assert!(source.contains("EXECUTE AS LOGIN = N'o''neil]'"), "{source}");
        assert!(source.contains("ALTER DATABASE [My Shop] SET RECOVERY FULL"), "{source}");
        assert!(target.contains("CREATE DATABASE \"sh\"\"op\""), "{target}");
    }

    #[test]
    fn only_what_a_mode_needs_is_granted() {
        #[track_caller]
        fn check(mode: InitMode, has: &[&str], has_not: &[&str]) {
            let rights = source_rights(&args(mode, "Shop"));
            for part in has {
                assert!(rights.contains(part), "{part} is missing:\n{rights}");
            }
            for part in has_not {
                assert!(!rights.contains(part), "{part} is too much:\n{rights}");
            }
        }
        check(InitMode::Snapshot, &["GRANT SELECT TO"], &["db_owner", "RECOVERY", "SERVER STATE", "cdc"]);
        check(InitMode::Log, &["db_owner", "SERVER STATE", "RECOVERY FULL"], &["cdc"]);
        check(InitMode::Cdc, &["GRANT SELECT TO", "sp_cdc_enable_db", "cdc_jobs", "SERVER STATE"], &["db_owner"]);
        check(InitMode::Hybrid, &["db_owner", "SERVER STATE", "sp_cdc_enable_db"], &[]);
    }

    #[test]
    fn the_task_is_one() {
        let task = task(&args(InitMode::Log, "My $hop"));
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("task.yaml");
        let filled = task.replace("${MSSQL_PASSWORD}", "a").replace("${PGPASSWORD}", "b");
        std::fs::write(&path, filled).expect("written");
        let loaded = logferry_config::Task::load(&path).unwrap_or_else(|e| panic!("{e}\n{task}"));
        let logferry_config::Source::Server(server) = &loaded.source else { panic!("{loaded:?}") };
        let logferry_config::Login::Sql { user, .. } = &server.login else { panic!("a password") };
        assert_eq!((server.database.as_str(), user.as_str()), ("My $hop", "o'neil]"));
    }
}
