//! The begin of reading: what is captured, since when, and what of that the target needs.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use logferry_model::{Checkpoint, CommitLsn, Lineage, Lsn, RestartLsn, TableId};
use tracing::{info, warn};

use super::choose::{self, Choice, choose};
use super::health::{Health, Trouble};
use super::instances::{self, Facts, Instance, Look};
use super::{CdcReader, CdcSettings, Gap, gap, rotate};
use crate::catalog::{self, Table};
use crate::error::Error;
use crate::hybrid::{self, Rhythm};
use crate::pool::Pool;
use crate::session::Session;
use crate::source::{OnTarget, Wanted};
use crate::sql;

/// How long the first scan of new instances is waited for: some intervals of the job.
const FIRST_SCAN: Duration = Duration::from_secs(120);
/// When it is asked whether there is anybody who scans.
const FIRST_SCAN_ASKED: Duration = Duration::from_secs(2);
const FIRST_SCAN_EVERY: Duration = Duration::from_millis(200);

impl CdcReader {
    /// Looks at the tables and their instances, and notes how far the log is captured: changes from there on are given, or from where
    /// the target is.
    pub(crate) async fn begin(
        pool: Pool,
        lineage: Lineage,
        wanted: Wanted,
        settings: CdcSettings,
        chunk_bytes: u64,
        target: OnTarget<'_>,
    ) -> Result<Self, Error> {
        let OnTarget { at, fences } = target;
        let mut session = pool.session().await?;
        let facts = enabled(&mut session, settings).await?;
        let tables = catalog::tables(&mut session).await?;
        let tables: Vec<Arc<Table>> = tables.into_iter().map(|t| Arc::new(t.cut_by_its_key())).collect();
        let wanted_tables: Vec<&Arc<Table>> = tables.iter().filter(|t| wanted(&t.version.name)).collect();
        if settings.enable {
            enable_tables(&mut session, &wanted_tables).await?;
        }
        let mut health = Health::new(facts.shows_jobs);
        let (look, instances) = first_scan(&mut session, &mut health, &wanted_tables).await?;
        let end = look.end.unwrap_or(Lsn::ZERO);
        let applied = at.unwrap_or(Checkpoint {
            applied: CommitLsn(end),
            restart: RestartLsn(end),
            lineage,
            commit_time_us: None,
        });
        if applied.applied.0 > end {
            return Err(Error::OtherDatabase(format!(
                "the log is captured up to {end}, but the target has everything up to {}: the database was set back",
                applied.applied.0
            )));
        }
        drop(session);
        let mut reader = CdcReader {
            pool,
            lineage,
            wanted: wanted.clone(),
            settings,
            chunk_bytes,
            facts,
            tables: Vec::new(),
            served: HashMap::new(),
            refused: HashMap::new(),
            gaps: HashMap::new(),
            untold: HashSet::new(),
            seen: look.seen,
            tables_asked: Instant::now(),
            stale: false,
            pending: None,
            waits: false,
            health,
            rhythm: Rhythm::default(),
            applied,
            events: Vec::new(),
            reloads: VecDeque::new(),
            reload: None,
            anew: HashSet::new(),
            fences: fences.iter().map(|fence| (fence.table, fence.lsn)).collect(),
            window: None,
        };
        for table in wanted_tables {
            reader.begin_table(table, &instances, at.is_some());
        }
        info!(tables = reader.served.len(), captured_to = %end, "reading change tables");
        reader.tables = tables;
        Ok(reader)
    }

    fn begin_table(&mut self, table: &Arc<Table>, instances: &[Instance], followed: bool) {
        let id = table.version.id;
        let own: Vec<&Instance> = instances.iter().filter(|i| i.table == id).collect();
        let position = self.position(id);
        let one = match choose(table, &own, position, followed, &self.facts) {
            Choice::Served(one) => one,
            Choice::Anew(one) => {
                warn!(
                    table = %table.version.name,
                    instance = one.instance.name,
                    "a column is new that the older capture instance does not have: the table is read anew"
                );
                self.anew.insert(id);
                self.reloads.push_back(table.clone());
                self.served.insert(id, Arc::new(one));
                return;
            }
            Choice::Gap(first) if followed => {
                let instead = choose::anew(table, &own, &self.facts).map(Arc::new);
                self.gaps.insert(id, Gap { error: gap(table, &first, position), instead });
                return;
            }
            Choice::NotCaptured | Choice::Gap(_) => {
                let mend = instances::statement_for(&table.version, None);
                if followed {
                    let error = rotate::not_captured_any_more(table, &mend);
                    self.gaps.insert(id, Gap { error, instead: None });
                }
                self.refused.insert(id, ("it has no capture instance".to_owned(), mend));
                return;
            }
            // What the target has must be followed, or the task stops.
            Choice::Another => {
                let error = rotate::another_is_needed(table, instances);
                self.gaps.insert(id, Gap { error, instead: None });
                return;
            }
            Choice::Refused(why, mend) => {
                if followed {
                    let error = rotate::not_followed_any_more(table, &why, mend.clone());
                    self.gaps.insert(id, Gap { error, instead: None });
                }
                self.refused.insert(id, (why, mend));
                return;
            }
        };
        if own.last().is_some_and(|last| last.id != one.instance.id) {
            self.pending = Some(Lsn::ZERO);
        }
        if !one.instance.missing(&table.version).is_empty() {
            // The column came while nobody looked.
            self.reloads.push_back(table.clone());
            self.pending = Some(Lsn::ZERO);
        }
        self.served.insert(id, Arc::new(one));
    }

    /// Behind which changes of a table are needed.
    pub(super) fn position(&self, table: TableId) -> Lsn {
        self.fences.get(&table).map_or(self.applied.applied.0, |fence| self.applied.applied.0.max(*fence))
    }
}

/// Sees that the database has CDC.
async fn enabled(session: &mut Session, settings: CdcSettings) -> Result<Facts, Error> {
    let facts = Facts::ask(session).await?;
    if facts.is_enabled {
        return Ok(facts);
    }
    if !settings.enable {
        return Err(Error::NotCaptured {
            what: "the database does not have change data capture".to_owned(),
            mend: "EXEC sys.sp_cdc_enable_db, then sys.sp_cdc_enable_table for each table; or source.cdc.enable: true"
                .to_owned(),
        });
    }
    hybrid::enable_database(session).await?;
    Facts::ask(session).await
}

pub(crate) async fn enable_database(session: &mut Session) -> Result<(), Error> {
    info!("enabling change data capture for the database");
    session.rows("enable change data capture for the database", sql::CDC_ENABLE_DATABASE, &[]).await.map(drop)
}

/// Makes an instance for each table that has none, and for those without a key whose newest one does not have all columns: they cannot
/// be looked up.
async fn enable_tables(session: &mut Session, tables: &[&Arc<Table>]) -> Result<(), Error> {
    let existing = instances::instances(session).await?;
    for table in tables {
        let own: Vec<&Instance> = existing.iter().filter(|i| i.table == table.version.id).collect();
        match own.last() {
            None => {
                rotate::enable(session, table, &instances::name_of_ours(&table.version, &existing)).await?;
            }
            Some(last) if table.lookup().is_none() && !last.missing(&table.version).is_empty() => {
                rotate::enable_another(session, table, &own, &existing).await?;
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Waits until all instances of some tables have been scanned once: before that they have no low endpoint.
async fn first_scan(
    session: &mut Session,
    health: &mut Health,
    tables: &[&Arc<Table>],
) -> Result<(Look, Vec<Instance>), Error> {
    let began = Instant::now();
    loop {
        // In this order: an instance that is listed was there when the log was captured up to the end.
        let instances = instances::instances(session).await?;
        let look = Look::ask(session).await?;
        let mut own = instances.iter().filter(|i| tables.iter().any(|t| t.version.id == i.table));
        let scanned = own.all(|i| i.start.is_some_and(|start| look.end.is_some_and(|end| start <= end)));
        if scanned {
            return Ok((look, instances));
        }
        if began.elapsed() > FIRST_SCAN_ASKED {
            let trouble = health.look(session).await?;
            if trouble == Some(Trouble::Missing) || began.elapsed() > FIRST_SCAN {
                let trouble = trouble.unwrap_or(Trouble::Stopped);
                return Err(Error::NotCaptured { what: trouble.what(), mend: trouble.mend().to_owned() });
            }
        }
        tokio::time::sleep(FIRST_SCAN_EVERY).await;
    }
}
