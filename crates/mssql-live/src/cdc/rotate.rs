//! Tables and instances that change while they are read.
//!
//! A capture instance has the columns that its table had when it was made. What is added later is in another instance, made after
//! it; both are filled from then on:
//!
//! ```text
//!  instance 1   a b ────────────────────────────────► (dropped, where it is ours)
//!  ALTER TABLE ADD c     │
//!  instance 2            └──── a b c ───────────────►
//!  read by               1, c from the table │ 2
//! ```
//!
//! So nothing is ever missing: in between, the new column is read from the table, by key. Rows that were there before may have got a
//! value for it without a word in the log, so the table is read anew, once.

use std::sync::Arc;

use logferry_model::{Lsn, SourceEvent, TableVersion};
use tiberius::ToSql;
use tracing::{info, warn};

use super::choose::{Choice, choose};
use super::instances::{self, Instance, Seen};
use super::served::Served;
use super::{CdcReader, gap};
use crate::catalog::{self, Reader, Table};
use crate::error::Error;
use crate::session::Session;
use crate::sql;
use crate::unseen;

impl CdcReader {
    /// Instances came, went or were cleaned up, or tables were altered: events for what is another now.
    pub(super) async fn look_again(&mut self, session: &mut Session, seen: Seen) -> Result<(), Error> {
        // In this order: what is in the second list was there when the first one was read.
        let tables: Vec<Table> = catalog::tables(session).await?;
        let instances = instances::instances(session).await?;
        let applied = self.applied.applied.0;
        self.pending = None;
        self.waits = false;
        let mut now = Vec::with_capacity(tables.len());
        for mut table in tables.into_iter().map(Table::cut_by_its_key) {
            let id = table.version.id;
            if let Some(old) = self.tables.iter().find(|t| t.version.id == id) {
                let same = crate::log::same_shape(&old.version, &table.version);
                let version = if same { old.version.version } else { old.version.version + 1 };
                if same {
                    table.version = old.version.clone();
                } else {
                    table.version = Arc::new(TableVersion { version, ..(*table.version).clone() });
                }
            }
            now.push(Arc::new(table));
        }
        let before = std::mem::replace(&mut self.tables, now);
        let gone = before.iter().filter(|t| !self.tables.iter().any(|n| n.version.id == t.version.id));
        let gone: Vec<_> =
            gone.map(|table| table.version.clone()).filter(|v| self.served.remove(&v.id).is_some()).collect();
        unseen::tell(session, gone, |_| true, &mut self.events).await?;
        for table in self.tables.clone() {
            if !(self.wanted)(&table.version.name) {
                continue;
            }
            let id = table.version.id;
            let own: Vec<&Instance> = instances.iter().filter(|i| i.table == id).collect();
            let position = self.position(id);
            let later = own.iter().filter_map(|i| i.start).filter(|start| *start > position).min();
            let unscanned = own.iter().any(|i| i.start.is_none());
            if unscanned || later.is_some() {
                let at = later.unwrap_or(applied);
                self.pending = Some(self.pending.map_or(at, |pending| pending.min(at)));
            }
            let old = self.served.get(&id).cloned();
            // One that begins before the position has all that comes after it, whichever was read until here.
            let (one, is_anew) = match (choose(&table, &own, position, true, &self.facts), &old) {
                (Choice::Served(one), _) => (one, false),
                (Choice::Anew(one), _) => (one, true),
                (Choice::Another, _) => {
                    self.another(session, &table, &own, &instances).await?;
                    continue;
                }
                (Choice::Refused(why, mend), _) => return Err(not_followed_any_more(&table, &why, mend)),
                (Choice::NotCaptured | Choice::Gap(_), Some(old)) if !own.iter().any(|i| i.id == old.instance.id) => {
                    return Err(dropped(old));
                }
                (Choice::Gap(first), Some(_)) => return Err(gap(&table, &first, position)),
                // A table that is new: its instance is not yet there, or there and not yet reached.
                (Choice::Gap(_), None) => continue,
                (Choice::NotCaptured, _) => {
                    self.not_captured(session, &table, &instances).await?;
                    continue;
                }
            };
            let one = Arc::new(one);
            let instance = &one.instance;
            let is_reshaped = old.as_ref().is_some_and(|old| old.table.version != table.version);
            let added = is_anew || old.as_ref().is_none_or(|old| has_more(&old.table.version, &table.version));
            if old.is_none() || is_reshaped {
                self.events.push(SourceEvent::Table(table.version.clone()));
            }
            if added {
                warn!(table = %table.version.name, "a table or a column of it is new: the table is read");
                self.reloads.push_back(table.clone());
            }
            if is_anew {
                self.anew.insert(id);
            }
            if let Some(old) = old.filter(|old| old.instance.id != instance.id) {
                info!(table = %table.version.name, instance = instance.name, "the table is read by another capture instance");
                if self.settings.enable && instances::is_ours(&old.instance.name) {
                    disable(session, &table, &old.instance).await?;
                }
            }
            let is_last = own.last().is_some_and(|last| last.id == instance.id);
            if is_last && !instance.missing(&table.version).is_empty() {
                self.rotate(session, &table, &own, &instances).await?;
            }
            self.served.insert(id, one);
        }
        self.seen = seen;
        Ok(())
    }

    /// A column has no instance, and is read from the table at each change: makes one, or says what would.
    async fn rotate(
        &mut self,
        session: &mut Session,
        table: &Table,
        own: &[&Instance],
        all: &[Instance],
    ) -> Result<(), Error> {
        let mend = match self.settings.enable {
            true => match enable_another(session, table, own, all).await {
                Err(Error::NotCaptured { mend, .. }) => mend,
                other => return other,
            },
            false => instances::statement_for(&table.version, Some(&instances::name_of_ours(&table.version, all))),
        };
        warn!(
            table = %table.version.name,
            "a new column is not captured, and read from the table at each change; to mend it: {mend}"
        );
        Ok(())
    }

    /// The same of a table whose rows cannot be looked up: nothing is read until the instance is there.
    async fn another(
        &mut self,
        session: &mut Session,
        table: &Table,
        own: &[&Instance],
        all: &[Instance],
    ) -> Result<(), Error> {
        self.waits = true;
        self.pending = Some(Lsn::ZERO);
        // It may be there, and not scanned yet.
        if own.last().is_some_and(|last| last.missing(&table.version).is_empty()) {
            return Ok(());
        }
        match self.settings.enable {
            true => enable_another(session, table, own, all).await,
            false => Err(another_is_needed(table, all)),
        }
    }

    async fn not_captured(&mut self, session: &mut Session, table: &Table, all: &[Instance]) -> Result<(), Error> {
        if self.settings.enable {
            return enable(session, table, &instances::name_of_ours(&table.version, all)).await;
        }
        if self.untold.insert(table.version.id) {
            warn!(
                table = %table.version.name,
                "a new table is not captured, and left out; to have it: {}",
                instances::statement_for(&table.version, None)
            );
        }
        Ok(())
    }
}

/// What to do about a table whose changes are not all there.
pub(super) fn read_anew(table: &TableVersion) -> String {
    format!(
        "start it once with --reload {}, to have the table read anew, as of one position (that asks for ALLOW_SNAPSHOT_ISOLATION)",
        table.name
    )
}

/// A table that was followed has no instance.
pub(super) fn not_captured_any_more(table: &Table, statement: &str) -> Error {
    let version = &table.version;
    Error::NotCaptured {
        what: format!(
            "table \"{}\" has no capture instance any more: what was committed since is not captured",
            version.name
        ),
        mend: format!("{statement}; then {}", read_anew(version)),
    }
}

/// A table that was followed cannot be any more.
pub(super) fn not_followed_any_more(table: &Table, why: &str, mend: String) -> Error {
    let what = format!("table \"{}\" cannot be followed by change data capture any more: {why}", table.version.name);
    Error::NotCaptured { what, mend }
}

/// No instance has all columns of a table whose rows cannot be looked up.
pub(super) fn another_is_needed(table: &Table, all: &[Instance]) -> Error {
    let version = &table.version;
    let statement = instances::statement_for(version, Some(&instances::name_of_ours(version, all)));
    let why = "a column is new that no capture instance has, and its rows cannot be looked up by a key";
    not_followed_any_more(table, why, format!("{statement}; then start the task again: the table is read anew"))
}

/// The instance that a table was read by is not there any more.
pub(super) fn dropped(served: &Served) -> Error {
    let version = &served.table.version;
    Error::NotCaptured {
        what: format!(
            "capture instance \"{}\" of table \"{}\" was dropped: what was committed since is not captured",
            served.instance.name, version.name
        ),
        mend: format!(
            "{}; then {}",
            instances::statement_for(version, Some(&served.instance.name)),
            read_anew(version)
        ),
    }
}

/// Whether a table has columns that it did not have.
fn has_more(old: &TableVersion, new: &TableVersion) -> bool {
    new.columns.iter().any(|column| !old.columns.iter().any(|c| c.id == column.id))
}

/// Makes an instance with all columns, beside the newest of those that are there: a table may have two. Of those that others have made
/// none is dropped.
pub(super) async fn enable_another(
    session: &mut Session,
    table: &Table,
    own: &[&Instance],
    all: &[Instance],
) -> Result<(), Error> {
    if let [older, _, ..] = own {
        if !instances::is_ours(&older.name) {
            let names: Vec<&str> = own.iter().map(|i| i.name.as_str()).collect();
            let version = &table.version;
            return Err(Error::NotCaptured {
                what: format!(
                    "a column of table \"{}\" is new, and cannot be captured: instances \"{}\" take both places, and the older one is \
                     not ours",
                    version.name,
                    names.join("\" and \"")
                ),
                mend: instances::statement_to_drop(version, &older.name),
            });
        }
        disable(session, table, older).await?;
    }
    enable(session, table, &instances::name_of_ours(&table.version, all)).await
}

/// Makes an instance.
pub(super) async fn enable(session: &mut Session, table: &Table, name: &str) -> Result<(), Error> {
    let version = &table.version;
    info!(table = %version.name, instance = name, "enabling change data capture for a table");
    let doing = format!("enable change data capture for table \"{}\"", version.name);
    let parameters: [&dyn ToSql; 3] = [&version.name.schema.as_str(), &version.name.name.as_str(), &name];
    session.rows(&doing, sql::CDC_ENABLE_TABLE, &parameters).await.map(drop)
}

/// Drops an instance.
pub(super) async fn disable(session: &mut Session, table: &Table, instance: &Instance) -> Result<(), Error> {
    let version = &table.version;
    info!(table = %version.name, instance = instance.name, "a capture instance is not needed any more");
    let doing = format!("drop capture instance \"{}\" of table \"{}\"", instance.name, version.name);
    let parameters: [&dyn ToSql; 3] =
        [&version.name.schema.as_str(), &version.name.name.as_str(), &instance.name.as_str()];
    session.rows(&doing, sql::CDC_DISABLE_TABLE, &parameters).await.map(drop)
}

/// The instance of the heartbeat.
const HEARTBEAT: &str = "logferry_heartbeat";

/// Sees that the heartbeat is captured.
pub(crate) async fn enable_heartbeat(session: &mut Session) -> Result<(), Error> {
    let instances = instances::instances(session).await?;
    if instances.iter().any(|i| i.name == HEARTBEAT) {
        return Ok(());
    }
    let parameters: [&dyn ToSql; 3] = [&"dbo", &HEARTBEAT, &HEARTBEAT];
    session.rows("have the heartbeat captured", sql::CDC_ENABLE_TABLE, &parameters).await.map(drop)
}

/// Drops the instances that we have made: their names.
pub(crate) async fn disable_ours(session: &mut Session) -> Result<Vec<String>, Error> {
    const DOING: &str = "list the capture instances of logferry";
    let mut done = Vec::new();
    let rows = session.rows(DOING, sql::TEARDOWN_INSTANCES, &[]).await?;
    for row in &rows {
        let row = Reader { row, doing: DOING };
        let (schema, table, name) = (row.text("schema_name")?, row.text("name")?, row.text("capture_instance")?);
        if !instances::is_ours(&name) {
            continue;
        }
        let doing = format!("drop capture instance \"{name}\"");
        let parameters: [&dyn ToSql; 3] = [&schema.as_str(), &table.as_str(), &name.as_str()];
        session.rows(&doing, sql::CDC_DISABLE_TABLE, &parameters).await?;
        done.push(format!("capture instance {name} of {schema}.{table}"));
    }
    Ok(done)
}

/// Whether nothing is captured.
pub(crate) async fn has_no_instances(session: &mut Session) -> Result<bool, Error> {
    Ok(instances::instances(session).await?.is_empty())
}
