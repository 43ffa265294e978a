//! Databases in a folder: written when a server ends, served again by the next one.
//!
//! ```text
//!  shop.mdf, shop_log.ldf   what a server has in its files: pages and log
//!  shop.json                what it keeps elsewhere, or this engine does not write: identities' last values, texts of constraints and
//!                           modules, settings, jobs, backups that were made
//! ```
//!
//! What is open is rolled back, and what CDC has not read is read, before files are written. A server that is killed writes nothing.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use logferry_model::{Collation, Lsn};
use serde::{Deserialize, Serialize};

use super::ast::StmtKind;
use super::cdc::{self, KeptJobs};
use super::collation;
use super::define;
use super::deparse::plain_type;
use super::error::{Result, SqlError};
use super::parse::{parse, parse_expression, parse_type};
use super::plan::Column;
use super::server::{Login, Server, utc_now};
use super::state::{
    BackupSet, CheckDef, ComputedDef, Db, DefaultDef, ForeignDef, Identity, KeyDef, ModuleDef, SYSTEM_DATABASES, State,
    Switch, TableMeta, from_storage,
};
use super::trigger::TriggerDef;
use super::value::Value;
use logferry_mssql_standin_storage::{Database, Kept};

/// `datetime`: days, ticks.
type Moment = Option<(i32, u32)>;

/// The form that folders are written in. It changes whenever what is in them does; others are not read.
const FORMAT: u32 = 2;

/// What is read before anything else. (The first form did not say which it is.)
#[derive(Deserialize)]
struct KeptFormat {
    #[serde(default = "first_format")]
    format: u32,
}

fn first_format() -> u32 {
    1
}

/// A database beside its files.
#[derive(Deserialize, Serialize)]
struct KeptDb {
    format: u32,
    storage: Kept,
    /// Its place among the databases of the server.
    place: usize,
    created: Moment,
    read_committed_snapshot: bool,
    allow_snapshot: bool,
    row_version: u64,
    tables: BTreeMap<u32, KeptTable>,
    modules: BTreeMap<u32, KeptModule>,
    triggers: BTreeMap<u32, KeptTrigger>,
    types: BTreeMap<u32, String>,
    backups: Vec<KeptBackup>,
    jobs: Option<KeptJobs>,
}

#[derive(Deserialize, Serialize)]
struct KeptTable {
    created: Moment,
    identity: Option<Identity>,
    keys: Vec<KeyDef>,
    foreign: Vec<ForeignDef>,
    /// Place, text, whether it is persisted.
    computed: Vec<(usize, String, bool)>,
    checks: Vec<KeptExpression>,
    /// Of the checks in their order: of which column it is, how it is switched.
    check_switches: Vec<(Option<usize>, Switch)>,
    rowguid: Option<usize>,
    /// Each of the column at its place.
    defaults: Vec<(usize, KeptExpression)>,
}

#[derive(Deserialize, Serialize)]
struct KeptExpression {
    name: String,
    object: u32,
    text: String,
    named_by_system: bool,
}

#[derive(Deserialize, Serialize)]
struct KeptModule {
    schema: String,
    name: String,
    text: String,
    created: Moment,
    /// Of views.
    columns: Vec<KeptColumn>,
}

/// A column of a view, as it was when the view was defined: what the view is of may be gone, or be another by now.
#[derive(Deserialize, Serialize)]
struct KeptColumn {
    name: String,
    /// As a declaration has it.
    sql_type: String,
    collation: Option<u32>,
    nullable: bool,
}

#[derive(Deserialize, Serialize)]
struct KeptTrigger {
    table: Option<u32>,
    name: String,
    events: Vec<String>,
    body: String,
    text: String,
    created: Moment,
    modified: Moment,
    disabled: bool,
}

#[derive(Deserialize, Serialize)]
struct KeptBackup {
    kind: char,
    first: [u8; 10],
    last: [u8; 10],
    device: String,
    mirror: Option<String>,
    lineage: [[u8; 16]; 3],
}

/// Where a database of a name is in a folder: data, log, what is beside them.
fn files(folder: &Path, name: &str) -> [PathBuf; 3] {
    // A name may be anything; a file's name here is not.
    let safe: String = name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    [".mdf", "_log.ldf", ".json"].map(|end| folder.join(format!("{safe}{end}")))
}

fn io(path: &Path, error: &dyn std::fmt::Display) -> SqlError {
    SqlError::batch(
        5120,
        format!("Unable to open the physical file \"{}\". Operating system error: \"{error}\".", path.display()),
    )
}

fn other_format(path: &Path, format: u32) -> SqlError {
    let (written, advice) = match format < FORMAT {
        true => ("an older", "serve it with the stand-in that wrote it, or begin with a new folder"),
        false => ("a newer", "serve it with the stand-in that wrote it"),
    };
    let message = format!(
        "{} was written by {written} stand-in: it has format {format}, this one reads and writes format {FORMAT}; {advice}.",
        path.display()
    );
    SqlError::batch(5120, message)
}

impl Server {
    /// Writes the user databases into a folder, where [`reopen`](Self::reopen) finds them; gives their names. Sessions should have ended: what they
    /// changed and did not commit is rolled back, and they do not know. Attached ones, which cannot have changed, are left out.
    ///
    /// # Errors
    /// Where a file cannot be written.
    pub fn close_into(&self, folder: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        let mut state = self.state();
        for at in SYSTEM_DATABASES.len()..state.databases.len() {
            if state.databases[at].as_ref().is_none_or(|db| db.storage.is_read_only()) {
                continue;
            }
            let [data, log, beside] = files(folder, &state.db(at).name);
            state.db_mut(at).storage.end_transactions().map_err(from_storage)?;
            cdc::drain(&mut state, at, utc_now())?;
            let storage = state.db_mut(at).storage.close_files(&data, &log).map_err(from_storage)?;
            let kept = kept(&state, at, storage);
            let text = serde_json::to_vec_pretty(&kept).map_err(|e| io(&beside, &e))?;
            std::fs::write(&beside, text).map_err(|e| io(&beside, &e))?;
            names.push(state.db(at).name.clone());
        }
        Ok(names)
    }

    /// Serves the databases again that a server left in a folder; gives their names.
    ///
    /// # Errors
    /// Where a file cannot be read, or has something in it that cannot be.
    pub fn reopen(&self, folder: &Path) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(|e| io(folder, &e))? {
            let path = entry.map_err(|e| io(folder, &e))?.path();
            if path.extension().is_some_and(|end| end == "json") && path.with_extension("mdf").is_file() {
                let text = std::fs::read(&path).map_err(|e| io(&path, &e))?;
                let KeptFormat { format } = serde_json::from_slice(&text).map_err(|e| io(&path, &e))?;
                if format != FORMAT {
                    return Err(other_format(&path, format));
                }
                found.push(serde_json::from_slice::<KeptDb>(&text).map_err(|e| io(&path, &e))?);
            }
        }
        found.sort_by_key(|kept| kept.place);
        found.into_iter().map(|kept| self.reopen_one(folder, kept)).collect()
    }

    fn reopen_one(&self, folder: &Path, kept: KeptDb) -> Result<String> {
        let name = kept.storage.name().to_owned();
        let [data, log, _] = files(folder, &name);
        let storage = Database::reopen(&data, &log, kept.storage).map_err(from_storage)?;
        let now = utc_now();
        let mut state = self.state();
        state.adopt(&name, now, storage);
        let at = state.databases.len() - 1;
        let db = state.db_mut(at);
        db.created = value(kept.created);
        (db.read_committed_snapshot, db.allow_snapshot) = (kept.read_committed_snapshot, kept.allow_snapshot);
        db.row_version = kept.row_version;
        for (id, table) in kept.tables {
            db.tables.insert(id, table.meta()?);
        }
        for id in db.tables.keys().copied().collect::<Vec<_>>() {
            let constraints = define::constraints_of(db, id);
            db.storage.know_constraints(id, constraints);
        }
        let backups = kept.backups.into_iter().map(|b| BackupSet {
            database: name.clone(),
            kind: ["D", "I", "L"].into_iter().find(|kind| kind.starts_with(b.kind)).unwrap_or("D"),
            first_lsn: Lsn::from_be_bytes(b.first),
            last_lsn: Lsn::from_be_bytes(b.last),
            device: b.device,
            mirror: b.mirror,
            lineage: b.lineage,
        });
        state.backup_sets.extend(backups);
        drop(state);

        let login = Login { name: "sa".into(), host: String::new(), program: String::new(), database: name.clone() };
        let session = self.connect(&login)?;
        let mut state = self.state();
        for (id, text) in kept.types {
            for stmt in parse(&text)? {
                if let StmtKind::CreateType(table, text) = &stmt.kind {
                    define::create_type(&mut state, &session.scalars, table, text)?;
                }
            }
            let types = &mut state.db_mut(at).table_types;
            if let Some((_, made)) = types.pop_last() {
                types.insert(id, made);
            }
        }
        let db = state.db_mut(at);
        for (id, module) in kept.modules {
            db.modules.extend(module.definition()?.map(|def| (id, def)));
        }
        db.triggers = kept.triggers.into_iter().map(|(id, t)| (id, t.definition())).collect();
        let runs = kept.jobs.is_some_and(|jobs| cdc::reopen(db, &jobs, now));
        drop(state);
        if runs {
            session.watch_jobs();
        }
        Ok(name)
    }
}

fn kept(state: &State, at: usize, storage: Kept) -> KeptDb {
    let db: &Db = state.db(at);
    let backup = |b: &BackupSet| KeptBackup {
        kind: b.kind.chars().next().unwrap_or('D'),
        first: b.first_lsn.to_be_bytes(),
        last: b.last_lsn.to_be_bytes(),
        device: b.device.clone(),
        mirror: b.mirror.clone(),
        lineage: b.lineage,
    };
    let tables = db.tables.iter().filter(|(id, _)| db.storage.table_def(**id).is_some());
    KeptDb {
        format: FORMAT,
        storage,
        place: at,
        created: moment(&db.created),
        read_committed_snapshot: db.read_committed_snapshot,
        allow_snapshot: db.allow_snapshot,
        row_version: db.row_version,
        tables: tables.map(|(id, meta)| (*id, KeptTable::of(meta))).collect(),
        modules: db.modules.iter().map(|(id, m)| (*id, KeptModule::of(m))).collect(),
        triggers: db.triggers.iter().map(|(id, t)| (*id, KeptTrigger::of(t))).collect(),
        types: db.table_types.iter().map(|(id, t)| (*id, t.text.clone())).collect(),
        backups: state.backup_sets.iter().filter(|b| b.database == db.name).map(backup).collect(),
        jobs: db.cdc.as_ref().map(cdc::jobs_of),
    }
}

fn moment(value: &Value) -> Moment {
    match value {
        Value::DateTime(days, ticks) => Some((*days, *ticks)),
        _ => None,
    }
}

fn value(moment: Moment) -> Value {
    moment.map_or(Value::Null, |(days, ticks)| Value::DateTime(days, ticks))
}

impl KeptTable {
    fn of(meta: &TableMeta) -> Self {
        let expression = |name: &str, object: u32, text: &str, named_by_system: bool| KeptExpression {
            name: name.to_owned(),
            object,
            text: text.to_owned(),
            named_by_system,
        };
        KeptTable {
            created: meta.created.as_ref().and_then(moment),
            identity: meta.identity.clone(),
            keys: meta.keys.clone(),
            foreign: meta.foreign.clone(),
            computed: meta.computed.iter().map(|c| (c.column, c.text.clone(), c.persisted)).collect(),
            checks: meta.checks.iter().map(|c| expression(&c.name, c.object, &c.text, c.named_by_system)).collect(),
            check_switches: meta.checks.iter().map(|c| (c.column, c.switch)).collect(),
            rowguid: meta.rowguid,
            defaults: meta
                .defaults
                .iter()
                .map(|d| (d.column, expression(&d.name, d.object, &d.text, d.named_by_system)))
                .collect(),
        }
    }

    fn meta(self) -> Result<TableMeta> {
        let computed = |(column, text, persisted): (usize, String, bool)| {
            Ok(ComputedDef { column, value: parse_expression(&text)?, text, persisted })
        };
        let mut switches = self.check_switches.into_iter();
        let check = |k: KeptExpression| {
            let test = parse_expression(&k.text)?;
            let (column, switch) = switches.next().unwrap_or_default();
            let KeptExpression { name, object, text, named_by_system } = k;
            Ok(CheckDef { name, object, column, test, text, named_by_system, switch })
        };
        let default = |(column, k): (usize, KeptExpression)| {
            let value = parse_expression(&k.text)?;
            let (name, object, text, named_by_system) = (k.name, k.object, k.text, k.named_by_system);
            Ok(DefaultDef { name, object, column, value, text, named_by_system })
        };
        Ok(TableMeta {
            created: self.created.map(|_| value(self.created)),
            altered: 0,
            identity: self.identity,
            computed: self.computed.into_iter().map(computed).collect::<Result<_>>()?,
            keys: self.keys,
            checks: self.checks.into_iter().map(check).collect::<Result<_>>()?,
            defaults: self.defaults.into_iter().map(default).collect::<Result<_>>()?,
            foreign: self.foreign,
            rowguid: self.rowguid,
        })
    }
}

impl KeptModule {
    fn of(m: &ModuleDef) -> Self {
        let column = |c: &Column| KeptColumn {
            name: c.name.clone(),
            sql_type: plain_type(&c.ty),
            collation: collation::of(&c.ty).map(|of| of.0),
            nullable: c.nullable,
        };
        KeptModule {
            schema: m.schema.clone(),
            name: m.name.clone(),
            text: m.text.clone(),
            created: moment(&m.created),
            columns: m.shown.iter().map(column).collect(),
        }
    }

    fn definition(self) -> Result<Option<ModuleDef>> {
        let kind = parse(&self.text)?.into_iter().find_map(|stmt| match stmt.kind {
            StmtKind::DefineModule(module) => Some((module.kind, module.options)),
            _ => None,
        });
        let Some((kind, options)) = kind else { return Ok(None) };
        let column = |c: KeptColumn| {
            let ty = parse_type(&c.sql_type)?;
            let ty = c.collation.map_or(ty.clone(), |of| collation::with(&ty, Collation(of)));
            Ok(Column::plain(c.name, ty, c.nullable))
        };
        Ok(Some(ModuleDef {
            schema: self.schema,
            name: self.name,
            kind,
            shown: self.columns.into_iter().map(column).collect::<Result<_>>()?,
            options,
            text: self.text,
            created: value(self.created),
        }))
    }
}

impl KeptTrigger {
    fn of(t: &TriggerDef) -> Self {
        KeptTrigger {
            table: t.table,
            name: t.name.clone(),
            events: t.events.clone(),
            body: t.body.clone(),
            text: t.text.clone(),
            created: moment(&t.created),
            modified: moment(&t.modified),
            disabled: t.disabled,
        }
    }

    fn definition(self) -> TriggerDef {
        let known = parse(&self.text).unwrap_or_default().into_iter().find_map(|stmt| match stmt.kind {
            StmtKind::DefineTrigger(trigger) => Some((trigger.options, trigger.not_for_replication)),
            _ => None,
        });
        let (options, not_for_replication) = known.unwrap_or_default();
        TriggerDef {
            options,
            not_for_replication,
            table: self.table,
            name: self.name,
            events: self.events,
            body: self.body,
            text: self.text,
            created: value(self.created),
            modified: value(self.modified),
            disabled: self.disabled,
        }
    }
}
