//! Events of statements that define things, and what `EVENTDATA()` says of them.
//!
//! Events and groups: <https://learn.microsoft.com/sql/relational-databases/triggers/ddl-event-groups>. The elements of the XML
//! are those of its schema, `events.xsd`, in their order.

use super::super::ast::{AlterTable, Expr, ModuleKind, Name, Stmt, StmtKind, TriggerOn};
use super::super::error::Result;
use super::super::function::split_name;
use super::super::state::{Scalars, State};
use super::super::value::same_name;
use super::super::xml;

/// The group of all events of a database.
const ROOT_GROUP: &str = "DDL_DATABASE_LEVEL_EVENTS";

/// Events that there are here: name, number, group.
pub(super) const EVENTS: &[(&str, i32, &str)] = &[
    ("CREATE_TABLE", 21, "DDL_TABLE_EVENTS"),
    ("ALTER_TABLE", 22, "DDL_TABLE_EVENTS"),
    ("DROP_TABLE", 23, "DDL_TABLE_EVENTS"),
    ("CREATE_INDEX", 24, "DDL_INDEX_EVENTS"),
    ("ALTER_INDEX", 25, "DDL_INDEX_EVENTS"),
    ("DROP_INDEX", 26, "DDL_INDEX_EVENTS"),
    ("CREATE_VIEW", 41, "DDL_VIEW_EVENTS"),
    ("ALTER_VIEW", 42, "DDL_VIEW_EVENTS"),
    ("DROP_VIEW", 43, "DDL_VIEW_EVENTS"),
    ("CREATE_PROCEDURE", 51, "DDL_PROCEDURE_EVENTS"),
    ("ALTER_PROCEDURE", 52, "DDL_PROCEDURE_EVENTS"),
    ("DROP_PROCEDURE", 53, "DDL_PROCEDURE_EVENTS"),
    ("CREATE_FUNCTION", 61, "DDL_FUNCTION_EVENTS"),
    ("ALTER_FUNCTION", 62, "DDL_FUNCTION_EVENTS"),
    ("DROP_FUNCTION", 63, "DDL_FUNCTION_EVENTS"),
    ("CREATE_TRIGGER", 71, "DDL_TRIGGER_EVENTS"),
    ("ALTER_TRIGGER", 72, "DDL_TRIGGER_EVENTS"),
    ("DROP_TRIGGER", 73, "DDL_TRIGGER_EVENTS"),
    ("CREATE_SCHEMA", 141, "DDL_SCHEMA_EVENTS"),
    ("ALTER_SCHEMA", 142, "DDL_SCHEMA_EVENTS"),
    ("DROP_SCHEMA", 143, "DDL_SCHEMA_EVENTS"),
    ("RENAME", 241, ROOT_GROUP),
];

/// Groups: name, number, the group around it.
const GROUPS: &[(&str, i32, &str)] = &[
    ("DDL_EVENTS", 10001, ""),
    (ROOT_GROUP, 10016, "DDL_EVENTS"),
    ("DDL_TABLE_VIEW_EVENTS", 10017, ROOT_GROUP),
    ("DDL_TABLE_EVENTS", 10018, "DDL_TABLE_VIEW_EVENTS"),
    ("DDL_VIEW_EVENTS", 10019, "DDL_TABLE_VIEW_EVENTS"),
    ("DDL_INDEX_EVENTS", 10020, "DDL_TABLE_VIEW_EVENTS"),
    ("DDL_FUNCTION_EVENTS", 10023, ROOT_GROUP),
    ("DDL_PROCEDURE_EVENTS", 10024, ROOT_GROUP),
    ("DDL_TRIGGER_EVENTS", 10025, ROOT_GROUP),
    ("DDL_DATABASE_SECURITY_EVENTS", 10029, ROOT_GROUP),
    ("DDL_SCHEMA_EVENTS", 10034, "DDL_DATABASE_SECURITY_EVENTS"),
];

/// The number of an event or a group.
pub(crate) fn event_number(name: &str) -> Option<i32> {
    EVENTS.iter().chain(GROUPS).find(|(n, ..)| *n == name).map(|(_, number, _)| *number)
}

/// The groups that an event is in, the innermost first.
pub(crate) fn groups_of(event: &str) -> Vec<&'static str> {
    let mut out = Vec::new();
    let mut at = EVENTS.iter().find(|(n, ..)| *n == event).map_or("", |(.., group)| *group);
    while !at.is_empty() {
        out.push(at);
        at = GROUPS.iter().find(|(n, ..)| *n == at).map_or("", |(.., outer)| *outer);
    }
    out
}

/// Something that a statement defines.
#[derive(Clone, Debug)]
pub(crate) struct DdlEvent {
    /// `CREATE_TABLE` and the like.
    pub event: &'static str,
    schema: String,
    object: String,
    kind: &'static str,
    /// Further elements, between `ObjectType` and `TSQLCommand`.
    more: String,
}

fn element(name: &str, text: &str, out: &mut String) {
    if text.is_empty() {
        out.push_str(&format!("<{name}/>"));
        return;
    }
    out.push_str(&format!("<{name}>"));
    xml::escaped(text, false, out);
    out.push_str(&format!("</{name}>"));
}

/// The events of a statement that is about to run. Temporary objects have none.
pub(crate) fn events_of(state: &State, scalars: &Scalars, stmt: &Stmt) -> Result<Vec<DdlEvent>> {
    let temporary = |name: &Name| name.last().is_some_and(|n| n.starts_with('#'));
    // A table of this database, as it is spelled.
    let table = |name: &Name| -> Result<Option<(String, String)>> {
        let found = state.find_table(scalars, name)?.filter(|at| at.database == scalars.database && !temporary(name));
        Ok(found.map(|at| state.db(at.database).table_name(at.table)))
    };
    let own = |name: &Name| -> Result<Option<(String, String)>> {
        let (database, schema, name) = state.resolve(scalars, name)?;
        Ok((database == scalars.database).then_some((schema, name)))
    };
    let event = |event, kind, (schema, object): (String, String), more| DdlEvent { event, schema, object, kind, more };
    let target = |schema_table: &(String, String)| {
        let mut more = String::new();
        element("TargetObjectName", &schema_table.1, &mut more);
        element("TargetObjectType", "TABLE", &mut more);
        more
    };
    let mut out = Vec::new();
    match &stmt.kind {
        StmtKind::CreateTable(def) => {
            out.extend(own(&def.name)?.map(|name| event("CREATE_TABLE", "TABLE", name, String::new())));
        }
        StmtKind::AlterTable(name, change) => {
            out.extend(table(name)?.map(|name| event("ALTER_TABLE", "TABLE", name, actions(change))));
        }
        StmtKind::DropTable { names, .. } => {
            for name in names {
                out.extend(table(name)?.map(|name| event("DROP_TABLE", "TABLE", name, String::new())));
            }
        }
        StmtKind::CreateIndex(index, of) => {
            out.extend(
                table(of)?.map(|t| event("CREATE_INDEX", "INDEX", (t.0.clone(), index.name.clone()), target(&t))),
            );
        }
        StmtKind::DropIndex { index, table: of, .. } => {
            out.extend(table(of)?.map(|t| event("DROP_INDEX", "INDEX", (t.0.clone(), index.clone()), target(&t))));
        }
        StmtKind::AlterIndex { index, table: of, .. } => {
            if let Some(found) = table(of)? {
                let named = |k: &&str| index.as_deref().is_none_or(|index| same_name(index, k));
                let at = state.find_table(scalars, of)?;
                let keys = at.iter().flat_map(|at| &state.db(at.database).meta(at.table).keys);
                // Of ALL, one for each.
                for key in keys.map(|k| k.name.as_str()).filter(named) {
                    let name = (found.0.clone(), key.to_owned());
                    out.push(event("ALTER_INDEX", "INDEX", name, target(&found)));
                }
            }
        }
        StmtKind::CreateSchema(name) => {
            out.push(event("CREATE_SCHEMA", "SCHEMA", (name.clone(), name.clone()), String::new()));
        }
        StmtKind::DefineModule(module) => {
            let new = state.find_module(scalars, &module.name)?.is_none();
            let (name, kind) = match (&module.kind, new) {
                (ModuleKind::View { .. }, true) => ("CREATE_VIEW", "VIEW"),
                (ModuleKind::View { .. }, false) => ("ALTER_VIEW", "VIEW"),
                (_, true) => ("CREATE_PROCEDURE", "PROCEDURE"),
                (_, false) => ("ALTER_PROCEDURE", "PROCEDURE"),
            };
            out.extend(own(&module.name)?.map(|of| event(name, kind, of, String::new())));
        }
        StmtKind::DropModule { view, names, .. } => {
            let (drop, kind) = if *view { ("DROP_VIEW", "VIEW") } else { ("DROP_PROCEDURE", "PROCEDURE") };
            for name in names {
                if state.find_module(scalars, name)?.is_some() {
                    out.extend(own(name)?.map(|of| event(drop, kind, of, String::new())));
                }
            }
        }
        StmtKind::DefineTrigger(trigger) => {
            let name = trigger.name.last().cloned().unwrap_or_default();
            let (schema, more) = match &trigger.on {
                TriggerOn::Database => (None, String::new()),
                TriggerOn::Table(of) => match table(of)? {
                    Some(of) => (Some(of.0.clone()), target(&of)),
                    None => return Ok(out),
                },
            };
            let new = state.db(scalars.database).find_trigger(schema.as_deref(), &name).is_none();
            let what = if new { "CREATE_TRIGGER" } else { "ALTER_TRIGGER" };
            out.push(event(what, "TRIGGER", (schema.unwrap_or_default(), name), more));
        }
        StmtKind::DropTrigger { names, on_database, .. } => {
            for name in names {
                let (_, schema, name) = state.resolve(scalars, name)?;
                let schema = (!on_database).then_some(schema);
                if state.db(scalars.database).find_trigger(schema.as_deref(), &name).is_some() {
                    let of = (schema.unwrap_or_default(), name);
                    out.push(event("DROP_TRIGGER", "TRIGGER", of, String::new()));
                }
            }
        }
        StmtKind::Exec { name, args, .. } if name.last().is_some_and(|n| n.eq_ignore_ascii_case("sp_rename")) => {
            out.extend(renamed(state, scalars, args)?);
        }
        _ => {}
    }
    Ok(out)
}

/// `sp_rename`, where its parameters are texts.
fn renamed(state: &State, scalars: &Scalars, args: &[(Option<String>, Expr, bool)]) -> Result<Option<DdlEvent>> {
    let text = |place: usize, name: &str| {
        let named = args.iter().find(|(n, ..)| n.as_ref().is_some_and(|n| n.eq_ignore_ascii_case(name)));
        match named.or_else(|| args.get(place).filter(|(n, ..)| n.is_none())) {
            Some((_, Expr::Text(text, _), _)) => text.clone(),
            _ => String::new(),
        }
    };
    let (old, new, kind) = (text(0, "@objname"), text(1, "@newname"), text(2, "@objtype"));
    let parts = split_name(&old);
    let mut more = String::new();
    let parameters = |more: &mut String| {
        element("NewObjectName", &new, more);
        more.push_str("<Parameters>");
        [&old, &new, &kind].iter().for_each(|p| element("Param", p, more));
        more.push_str("</Parameters>");
    };
    let name_of = |at: super::super::bind::TableAt| state.db(at.database).table_name(at.table);
    if let Some(at) = state.find_table(scalars, &parts)? {
        element("TargetObjectName", "", &mut more);
        element("TargetObjectType", "", &mut more);
        parameters(&mut more);
        let (schema, object) = name_of(at);
        return Ok(Some(DdlEvent { event: "RENAME", schema, object, kind: "TABLE", more }));
    }
    let Some((last, of)) = parts.split_last().filter(|(_, of)| !of.is_empty()) else { return Ok(None) };
    Ok(state.find_table(scalars, of)?.map(|at| {
        let (schema, table) = name_of(at);
        element("TargetObjectName", &table, &mut more);
        element("TargetObjectType", "TABLE", &mut more);
        parameters(&mut more);
        let kind = if kind.eq_ignore_ascii_case("INDEX") { "INDEX" } else { "COLUMN" };
        DdlEvent { event: "RENAME", schema, object: last.clone(), kind, more }
    }))
}

/// What ALTER TABLE does.
fn actions(change: &AlterTable) -> String {
    let (what, columns, constraints): (_, Vec<&str>, Vec<&str>) = match change {
        AlterTable::Add { columns, constraints, .. } => (
            "Create",
            columns.iter().map(|c| c.name.as_str()).collect(),
            constraints.iter().filter_map(|c| c.name.as_deref()).collect(),
        ),
        AlterTable::Drop { columns, constraints, .. } => {
            ("Drop", columns.iter().map(String::as_str).collect(), constraints.iter().map(String::as_str).collect())
        }
        AlterTable::Alter(column) => ("Alter", vec![column.name.as_str()], Vec::new()),
        AlterTable::Switch { enable, names, .. } => {
            (if *enable { "Enable" } else { "Disable" }, Vec::new(), names.iter().map(String::as_str).collect())
        }
        AlterTable::Rebuild | AlterTable::LockEscalation => return String::new(),
    };
    let mut out = format!("<AlterTableActionList><{what}>");
    for (kind, names) in [("Columns", columns), ("Constraints", constraints)] {
        if !names.is_empty() {
            out.push_str(&format!("<{kind}>"));
            names.iter().for_each(|name| element("Name", name, &mut out));
            out.push_str(&format!("</{kind}>"));
        }
    }
    out.push_str(&format!("</{what}></AlterTableActionList>"));
    out
}

/// What `EVENTDATA()` gives: of an event, the statement, and when it was.
pub(crate) fn event_data(state: &State, scalars: &Scalars, event: &DdlEvent, command: &str) -> String {
    let mut out = String::from("<EVENT_INSTANCE>");
    let (days, ticks) = scalars.now;
    let day = super::super::time::date_of(days);
    let ms = ticks / 10_000;
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let time = format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{ms:03}",
        day.0,
        day.1,
        day.2,
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60
    );
    element("EventType", event.event, &mut out);
    element("PostTime", &time, &mut out);
    element("SPID", &scalars.spid.to_string(), &mut out);
    element("ServerName", &state.server, &mut out);
    element("LoginName", &scalars.login, &mut out);
    element("UserName", "dbo", &mut out);
    element("DatabaseName", &state.db(scalars.database).name, &mut out);
    element("SchemaName", &event.schema, &mut out);
    element("ObjectName", &event.object, &mut out);
    element("ObjectType", event.kind, &mut out);
    out.push_str(&event.more);
    out.push_str("<TSQLCommand><SetOptions ANSI_NULLS=\"ON\" ANSI_NULL_DEFAULT=\"ON\" ANSI_PADDING=\"ON\" QUOTED_IDENTIFIER=\"ON\" ENCRYPTED=\"FALSE\"/>");
    element("CommandText", command, &mut out);
    out.push_str("</TSQLCommand></EVENT_INSTANCE>");
    out
}
