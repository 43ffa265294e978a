//! `sp_helpdb`, `sp_databases`, `sp_spaceused`: how large databases and tables are.

use super::super::super::collation;
use super::super::super::error::{Result, SqlError, unsupported};
use super::super::super::state::{Db, Scalars, State};
use super::super::super::time::{Moment, Shown, format as shown};
use super::super::super::value::Value;
use super::super::shape::{NULL, n, t, view};
use super::{Given, Said, find};
use logferry_mssql_standin_storage::SpaceUnit;

const PAGE_KB: i64 = 8;

/// `mon dd yyyy`
const DATE_STYLE: i64 = 100;

/// Pages of the data file and of the log file.
fn file_pages(db: &Db) -> [i64; 2] {
    [i64::from(db.storage.file_pages()), (db.storage.log_state().file_bytes / 8192) as i64]
}

fn megabytes(pages: i64) -> f64 {
    (pages * PAGE_KB) as f64 / 1024.0
}

fn kilobytes(pages: i64) -> Value {
    t(&format!("{} KB", pages * PAGE_KB))
}

/// `sp_databases`
pub(super) fn databases(state: &State) -> Said {
    let mut every: Vec<&Db> = state.databases.iter().flatten().collect();
    every.sort_by_key(|db| db.name.to_lowercase());
    Said::rows(view(
        "DATABASE_NAME sysname, DATABASE_SIZE int?, REMARKS v254?",
        ["DATABASE_NAME", "DATABASE_SIZE"],
        every.into_iter().map(|db| [t(&db.name), n(file_pages(db).iter().sum::<i64>() * PAGE_KB)]),
    ))
}

/// `sp_helpdb`: all databases, or one with its files.
pub(super) fn help_database(state: &State, wanted: Option<String>) -> Result<Vec<Said>> {
    let found = match &wanted {
        None => None,
        Some(name) => Some(state.find_database(name).ok_or_else(|| {
            let what = format!(
                "The database '{name}' does not exist. Supply a valid database name. To see available databases, use sys.databases."
            );
            SqlError::new(15010, what)
        })?),
    };
    let mut every: Vec<(usize, &Db)> =
        state.databases.iter().enumerate().filter_map(|(at, db)| Some((at, db.as_ref()?))).collect();
    every.retain(|(at, _)| found.is_none_or(|found| found == *at));
    every.sort_by_key(|(_, db)| db.name.to_lowercase());
    let rows = every.into_iter().map(|(at, db)| {
        let moment = Moment::of(&db.created);
        let created = moment.and_then(|m| shown(&m, Shown::DateTime { seconds: true }, Some(DATE_STYLE)));
        let status = [
            "Status=ONLINE".to_owned(),
            format!("Updateability={}", if db.storage.is_read_only() { "READ_ONLY" } else { "READ_WRITE" }),
            "UserAccess=MULTI_USER".to_owned(),
            format!("Recovery={}", if db.simple_recovery { "SIMPLE" } else { "FULL" }),
            "Version=852".to_owned(),
            format!("Collation={}", collation::DEFAULT_NAME),
            "SQLSortOrder=52".to_owned(),
            "IsAutoCreateStatistics".to_owned(),
            "IsAutoUpdateStatistics".to_owned(),
        ];
        let size = format!("{:10.2} MB", megabytes(file_pages(db).iter().sum()));
        let date: String = created.unwrap_or_default().chars().take(11).collect();
        [t(&db.name), t(&size), t("sa"), n(State::database_id(at)), t(&date), t(&status.join(", "))]
    });
    let mut said = vec![Said::rows(view(
        "name sysname, db_size n13?, owner sysname?, dbid smallint, created n11?, status n600?, compatibility_level tinyint=130",
        ["name", "db_size", "owner", "dbid", "created", "status"],
        rows,
    ))];
    if let Some(at) = found {
        let db = state.db(at);
        let [data, log] = file_pages(db);
        let file = |name: String, id: i64, end: &str, group: Value, pages: i64, usage: &str| {
            [t(&name), n(id), t(&format!("{name}{end}")), group, kilobytes(pages), t(usage)]
        };
        said.push(Said::rows(view(
            "name nc128, fileid smallint, filename nc260, filegroup n128?, size n18, maxsize n18=Unlimited, growth n18=65536 KB, usage v9",
            ["name", "fileid", "filename", "filegroup", "size", "usage"],
            [
                file(db.name.clone(), 1, ".mdf", t("PRIMARY"), data, "data only"),
                file(format!("{}_log", db.name), 2, ".ldf", NULL, log, "log only"),
            ],
        )));
    }
    Ok(said)
}

/// Pages that are taken, with data, of indexes, and taken but not used, of allocation units.
fn sums(units: impl Iterator<Item = SpaceUnit>) -> [i64; 4] {
    let (mut reserved, mut used, mut data) = (0, 0, 0);
    for SpaceUnit { index, kind, pages: [own_data, own_used, own_reserved], .. } in units {
        reserved += own_reserved;
        used += own_used;
        data += match (index, kind) {
            (0 | 1, 1) => own_data,
            (0 | 1, _) => own_used,
            _ => 0,
        };
    }
    [reserved, data, used - data, reserved - used]
}

const SPACE: &str = "reserved v18?, data v18?, index_size v18?, unused v18?";
const OF_DATABASE: &str = "database_name n128?, database_size v18?, [unallocated space] v18?";

/// `sp_spaceused`: of a table, or of the database.
pub(super) fn space_used(state: &State, s: &Scalars, given: Given<'_>) -> Result<Vec<Said>> {
    let db = state.db(s.database);
    let update = given(1, "@updateusage").unwrap_or_else(|| "false".into());
    if !["true", "false"].contains(&update.to_lowercase().as_str()) {
        let what =
            format!("'{update}' is not a valid option for the @updateusage parameter. Enter either 'true' or 'false'.");
        return Err(SqlError::new(15143, what));
    }
    if given(2, "@mode").is_some_and(|mode| mode.eq_ignore_ascii_case("REMOTE_ONLY")) {
        return Err(unsupported("the mode REMOTE_ONLY of sp_spaceused: no table is stretched"));
    }
    let space = ["reserved", "data", "index_size", "unused"];
    if let Some(name) = given(0, "@objname") {
        let object = find(state, s, &name)?;
        match object.kind {
            "U " => {}
            "V " => return Err(SqlError::new(15235, "Views do not have space allocated.")),
            _ => return Err(SqlError::new(15234, "Objects of this type have no space allocated.")),
        }
        let units = db.storage.space().into_iter().filter(|unit| unit.object == object.id);
        let rowsets = db.storage.table_rowsets(object.id);
        let rows = rowsets.iter().find(|r| r.index <= 1).map_or(0, |r| db.storage.rowset_rows(r.id));
        let [reserved, data, index, unused] = sums(units).map(kilobytes);
        return Ok(vec![Said::rows(view(
            &format!("name n128, rows char20?, {SPACE}"),
            ["name", "rows"].into_iter().chain(space),
            [[t(&object.name), t(&rows.to_string()), reserved, data, index, unused]],
        ))]);
    }
    let [data_file, log_file] = file_pages(db);
    let all = sums(db.storage.space().into_iter());
    let size = format!("{:.2} MB", megabytes(data_file + log_file));
    let free = format!("{:.2} MB", megabytes(data_file - all[0]));
    let [reserved, data, index, unused] = all.map(kilobytes);
    let (name, of) = (t(&db.name), ["database_name", "database_size", "unallocated space"]);
    if given(3, "@oneresultset").is_some_and(|one| one == "1") {
        return Ok(vec![Said::rows(view(
            &format!("{OF_DATABASE}, {SPACE}"),
            of.into_iter().chain(space),
            [[name, t(&size), t(&free), reserved, data, index, unused]],
        ))]);
    }
    Ok(vec![
        Said::rows(view(OF_DATABASE, of, [[name, t(&size), t(&free)]])),
        Said::rows(view(SPACE, space, [[reserved, data, index, unused]])),
    ])
}
