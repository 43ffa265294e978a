//! By which capture instance a table is read, and what is to be done before.
//!
//! A table's changes are needed from a position on: that of the task, or a later one, where its rows were read as of that one
//! ([`crate::fence`]). An instance that begins before it has all of them. One that begins later serves the table, too, once it was read
//! whole as of a position behind that begin:
//!
//! ```text
//!  older    a b ──────────────►                          does not have c, and there is no key to look it up by
//!  newer           └── a b c ──────────────────────►
//!  read by  older │ nothing, the rest waits │ newer
//!                                           └ all rows, as of one position
//! ```

use std::sync::Arc;

use logferry_model::Lsn;

use super::instances::{Facts, Instance};
use super::served::Served;
use crate::catalog::Table;

/// What serves a table.
#[derive(Debug)]
pub(super) enum Choice {
    /// This, from the position on.
    Served(Served),
    /// This, when the table was read whole: the older instance does not have all columns.
    Anew(Served),
    /// One that is not there yet, or was not scanned yet: those that are do not have all columns.
    Another,
    /// Nothing: why not, and what mends that.
    Refused(String, String),
    /// There are instances, and none that begins early enough: the oldest.
    Gap(Instance),
    /// There is no instance.
    NotCaptured,
}

/// Chooses among the instances of a table, the oldest first, for changes behind a position. What is `followed` has been copied, and
/// columns may have come since.
pub(super) fn choose(table: &Arc<Table>, own: &[&Instance], position: Lsn, followed: bool, facts: &Facts) -> Choice {
    let Some(oldest) = own.first() else { return Choice::NotCaptured };
    let begins_in_time = |i: &&&Instance| i.start.is_some_and(|start| start <= position);
    let Some(ready) = own.iter().rev().find(begins_in_time) else { return Choice::Gap((*oldest).clone()) };
    let served = serve(table, ready, facts);
    let Some((why, mend)) = served.refused(followed, facts.has_snapshots) else { return Choice::Served(served) };
    if !followed || ready.missing(&table.version).is_empty() {
        return Choice::Refused(why, mend);
    }
    // Whether one that has all columns would do.
    if let Some((why, mend)) = serve(table, &Instance::of_all(table), facts).refused(true, facts.has_snapshots) {
        return Choice::Refused(why, mend);
    }
    anew(table, own, facts).map_or(Choice::Another, Choice::Anew)
}

/// The newest instance, if it serves the table behind a position that is yet to come.
pub(super) fn anew(table: &Arc<Table>, own: &[&Instance], facts: &Facts) -> Option<Served> {
    let newest = own.last().filter(|i| i.start.is_some() && facts.has_snapshots)?;
    Some(serve(table, newest, facts)).filter(|served| served.refused(false, true).is_none())
}

fn serve(table: &Arc<Table>, instance: &Instance, facts: &Facts) -> Served {
    Served::new(table.clone(), instance.clone(), facts.collation.as_deref())
}
