//! Procedures that tell people of the server, its databases and their objects: `sp_help`, `sp_spaceused`, `sp_who` and the like.

mod database;
mod table;
mod text;

use super::super::error::{Result, SqlError};
use super::super::function::split_name;
use super::super::plan::Column;
use super::super::state::{Scalars, State};
use super::super::value::same_name;
use super::objects::{Object, objects};
use super::shape::{Rows, n, t, view};
use super::views::session::activity;
use super::views::settled;

/// What such a procedure gives, in its order.
pub(crate) enum Said {
    Rows(Vec<Column>, Rows),
    /// Number and words.
    Message(i32, String),
}

impl Said {
    fn rows((columns, rows): (Vec<Column>, Rows)) -> Said {
        Said::Rows(columns, rows)
    }
}

/// The value of an argument, by its place and its name.
type Given<'a> = &'a dyn Fn(usize, &str) -> Option<String>;

/// What a procedure of this chapter gives; `None` where it is none of them.
///
/// # Errors
/// Of what is named and not there; and where others have defined something that they have not committed: wait.
pub(crate) fn help(state: &State, s: &Scalars, name: &str, given: Given<'_>) -> Result<Option<Vec<Said>>> {
    let names = [
        "sp_databases",
        "sp_help",
        "sp_helpdb",
        "sp_helpindex",
        "sp_helptext",
        "sp_server_info",
        "sp_spaceused",
        "sp_who",
    ];
    if !names.contains(&name) {
        return Ok(None);
    }
    settled(state, s, s.database)?;
    let object = |place: usize| given(place, "@objname");
    let needed = || {
        let missing = format!("Procedure or function '{name}' expects parameter '@objname', which was not supplied.");
        object(0).ok_or_else(|| SqlError::new(201, missing).state(4))
    };
    let said = match name {
        "sp_help" => match object(0) {
            None => vec![table::summary(state, s)],
            Some(name) => table::help(state, s, &name)?,
        },
        "sp_helpindex" => table::indexes(state, s, &find(state, s, &needed()?)?),
        "sp_helptext" => text::help_text(state, s, &needed()?, given(1, "@columnname"))?,
        "sp_helpdb" => database::help_database(state, given(0, "@dbname"))?,
        "sp_databases" => vec![database::databases(state)],
        "sp_spaceused" => database::space_used(state, s, given)?,
        "sp_server_info" => vec![server_info(given(0, "@attribute_id"))],
        _ => vec![who(state, s, given(0, "@loginame"))?],
    };
    Ok(Some(said))
}

/// Error 15009.
fn not_there(state: &State, s: &Scalars, name: &str) -> SqlError {
    let database = &state.db(s.database).name;
    let what = format!("The object '{name}' does not exist in database '{database}' or is invalid for this operation.");
    SqlError::new(15009, what)
}

/// An object of the current database by its name.
///
/// # Errors
/// 15009, 15250
fn find(state: &State, s: &Scalars, given: &str) -> Result<Object> {
    let (at, schema, name) = state.resolve(s, &split_name(given)).map_err(|_| not_there(state, s, given))?;
    if at != s.database && !given.starts_with('#') {
        return Err(SqlError::new(
            15250,
            "The database name component of the object qualifier must be the name of the current database.",
        ));
    }
    let is = |o: &Object| same_name(&o.name, &name) && same_name(&o.schema, &schema);
    let found = objects(state, s.database).into_iter().find(|o| is(o));
    found
        .filter(|o| state.is_seen(s, super::super::bind::TableAt { database: at, table: o.id }))
        .ok_or_else(|| not_there(state, s, given))
}

/// `sp_who`: sessions; of a login, of a number, or those that do something.
fn who(state: &State, s: &Scalars, wanted: Option<String>) -> Result<Said> {
    let number = wanted.as_ref().and_then(|w| w.trim().parse::<i16>().ok());
    let active = wanted.as_ref().is_some_and(|w| w.eq_ignore_ascii_case("active"));
    if let Some(login) = wanted.as_ref().filter(|_| number.is_none() && !active)
        && !same_name(login, &s.login)
        && !state.sessions.values().any(|of| same_name(&of.login, login))
    {
        let what = format!("'{login}' is not a valid login or you do not have permission.");
        return Err(SqlError::new(15007, what));
    }
    let is_wanted = |id: i16, login: &str| match (&wanted, number) {
        (None, _) => true,
        (_, Some(number)) => number == id,
        (Some(_), None) if active => activity(state, s.spid, id)[1] != "AWAITING COMMAND",
        (Some(wanted), None) => same_name(wanted, login),
    };
    let rows = state.sessions.iter().filter(|(id, of)| is_wanted(**id, &of.login)).map(|(id, of)| {
        let [status, command] = activity(state, s.spid, *id);
        let blocking = state.waits.get(id).copied().unwrap_or(0);
        let database = &state.db(of.database).name;
        [n(*id), t(status), t(&of.login), t(&of.host), t(&blocking.to_string()), t(database), t(command)]
    });
    Ok(Said::rows(view(
        "spid smallint, ecid smallint=0, status nc30, loginame nc128?, hostname nc128, blk char5?, dbname nc128?, cmd nc16, request_id int=0",
        ["spid", "status", "loginame", "hostname", "blk", "dbname", "cmd"],
        rows,
    )))
}

/// What ODBC drivers ask of a server when they connect.
const ATTRIBUTES: &[(i64, &str, &str)] = &[
    (1, "DBMS_NAME", "Microsoft SQL Server"),
    (2, "DBMS_VER", "Microsoft SQL Server 2016 - 13.0.5026.0"),
    (10, "OWNER_TERM", "owner"),
    (11, "TABLE_TERM", "table"),
    (12, "MAX_OWNER_NAME_LENGTH", "128"),
    (13, "TABLE_LENGTH", "128"),
    (14, "MAX_QUAL_LENGTH", "128"),
    (15, "COLUMN_LENGTH", "128"),
    (16, "IDENTIFIER_CASE", "MIXED"),
    (17, "TX_ISOLATION", "2"),
    (18, "COLLATION_SEQ", "charset=iso_1 sort_order=nocase_iso charset_num=1 sort_order_num=52"),
    (19, "SAVEPOINT_SUPPORT", "Y"),
    (20, "MULTI_RESULT_SETS", "Y"),
    (22, "ACCESSIBLE_TABLES", "Y"),
    (100, "USERID_LENGTH", "128"),
    (101, "QUALIFIER_TERM", "database"),
    (102, "NAMED_TRANSACTIONS", "Y"),
    (103, "SPROC_AS_LANGUAGE", "Y"),
    (104, "ACCESSIBLE_SPROC", "Y"),
    (105, "MAX_INDEX_COLS", "16"),
    (106, "RENAME_TABLE", "Y"),
    (107, "RENAME_COLUMN", "Y"),
    (108, "DROP_COLUMN", "Y"),
    (109, "INCREASE_COLUMN_LENGTH", "Y"),
    (110, "DDL_IN_TRANSACTION", "Y"),
    (111, "DESCENDING_INDEXES", "Y"),
    (112, "SP_RENAME", "Y"),
    (113, "REMOTE_SPROC", "Y"),
    (500, "SYS_SPROC_VERSION", "13.00.5026"),
];

fn server_info(wanted: Option<String>) -> Said {
    let wanted = wanted.map(|w| w.trim().parse::<i64>().unwrap_or(-1));
    let rows = ATTRIBUTES.iter().filter(|(id, ..)| wanted.is_none_or(|w| w == *id));
    Said::rows(view(
        "ATTRIBUTE_ID int, ATTRIBUTE_NAME v60, ATTRIBUTE_VALUE v255?",
        ["ATTRIBUTE_ID", "ATTRIBUTE_NAME", "ATTRIBUTE_VALUE"],
        rows.map(|(id, name, value)| [n(*id), t(name), t(value)]),
    ))
}
