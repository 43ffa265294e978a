//! What is known of captured tables before anything is made or read: for `logferry check`.

use super::health::{Health, Trouble};
use super::instances::{self, Facts, Instance};
use super::served::Served;
use crate::catalog::Table;
use crate::error::Error;
use crate::session::Session;

/// What is wrong with capturing.
pub(crate) struct Told {
    pub(crate) what: String,
    pub(crate) mend: &'static str,
    /// Nothing is captured.
    pub(crate) is_dead: bool,
}

/// Something about a table.
pub(crate) enum Verdict {
    /// It cannot be followed.
    Refused { why: String, mend: String },
    /// Values of these columns are read from the table.
    Fetched { columns: Vec<String> },
    /// Others have as many instances as there may be.
    NoSlot { instances: Vec<String> },
}

/// Instances that a table may have.
const INSTANCES_MAX: usize = 2;

/// What is wrong with capturing just now.
pub(crate) async fn trouble(session: &mut Session, facts: &Facts) -> Result<Option<Told>, Error> {
    // The job comes with the first instance.
    if !facts.is_enabled || instances::instances(session).await?.is_empty() {
        return Ok(None);
    }
    let trouble = Health::new(facts.shows_jobs).look(session).await?;
    Ok(trouble.map(|trouble| Told {
        what: trouble.what(),
        mend: trouble.mend(),
        is_dead: matches!(trouble, Trouble::Missing | Trouble::Stopped),
    }))
}

/// What is to be told of some tables, whether they are captured or will be.
pub(crate) async fn verdicts<'t>(
    session: &mut Session,
    facts: &Facts,
    tables: &[&'t Table],
) -> Result<Vec<(&'t Table, Verdict)>, Error> {
    let existing = if facts.is_enabled { instances::instances(session).await? } else { Vec::new() };
    let mut found = Vec::new();
    for &table in tables {
        let own: Vec<&Instance> = existing.iter().filter(|i| i.table == table.version.id).collect();
        if own.len() >= INSTANCES_MAX && !own.iter().any(|i| instances::is_ours(&i.name)) {
            found.push((table, Verdict::NoSlot { instances: own.iter().map(|i| i.name.clone()).collect() }));
        }
        // As it is read, or will be when an instance is made.
        let instance = own.last().map_or_else(|| Instance::of_all(table), |i| (*i).clone());
        let served = Served::new(table.clone().into(), instance, facts.collation.as_deref());
        if let Some((why, mend)) = served.refused(false, facts.has_snapshots) {
            found.push((table, Verdict::Refused { why, mend }));
            continue;
        }
        let fetched = instances::fetched(table, facts.collation.as_deref());
        if !fetched.is_empty() {
            let name = |at: &usize| table.version.columns.get(*at).map(|c| c.name.clone());
            found.push((table, Verdict::Fetched { columns: fetched.iter().filter_map(name).collect() }));
        }
    }
    Ok(found)
}
