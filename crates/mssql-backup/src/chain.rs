//! Backup chains: which full backup, which differential, which logs, in which order.
//!
//! ```text
//! LSN ------------------------------------------------------------------------->
//! full  [first ....... last)
//! log      [first ............. last)[............)
//! diff                                    [....)
//! log                                             [................)[........)
//! ```
//!
//! A full backup holds its pages and the log from `first_lsn` to `last_lsn` that makes them consistent; then come the logs, each
//! beginning at or before the point that was reached. A differential takes the place of the logs up to its own end. It
//! belongs to its full by the GUID of the backup set: LSNs do not tell, two databases made by one script have the same.
//! All sets must be of one database (binding GUID) and on one recovery fork: after a restore to an earlier point the same
//! LSNs are used again for another history.

use logferry_model::{Lineage, Lsn};

use crate::error::Error;
use crate::log_blocks::LogBlocks;
use crate::log_segment::{LogEnd, LogSegment, SegmentBlocks};
use crate::set::{BackupKind, BackupSet};
use crate::set_pages::BasePages;

/// How to choose among the backups.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlanOptions {
    /// Which full backup.
    pub base: Base,
    /// Whether differentials count.
    pub differentials: Differentials,
    /// Whether more files are to come.
    pub tail: Tail,
}

/// Whether more files are to come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tail {
    /// What there is must fit together to the last file.
    #[default]
    Closed,
    /// Files that are not whole yet, and logs behind a hole, may wait for what is still to arrive.
    Open,
}

/// Which data backup to begin with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Base {
    /// The newest: least to replay.
    #[default]
    Newest,
    /// The oldest full: the longest history.
    Oldest,
    /// The newest that ends at or before this position: to go on from there.
    EndingBy(Lsn),
}

/// Whether differentials count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Differentials {
    /// The newest one of the full takes the place of the logs before it.
    #[default]
    Use,
    /// Logs only.
    Ignore,
}

/// What rebuilds a database, in order.
#[derive(Clone, Debug)]
pub struct Chain {
    /// The database.
    pub database: String,
    /// The full backup.
    pub full: BackupSet,
    /// A differential of it.
    pub differential: Option<BackupSet>,
    /// The logs, in order.
    pub logs: Vec<BackupSet>,
    /// Sets that were given but are not needed, and why.
    pub unneeded: Vec<Unneeded>,
}

/// A set that is not needed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unneeded {
    /// Its file.
    pub path: std::path::PathBuf,
    /// Its number in the file.
    pub number: u16,
    /// Why.
    pub why: &'static str,
}

/// What [`Chain::verify`] went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verified {
    /// Pages of the data backups.
    pub pages: u64,
    /// Log blocks.
    pub blocks: u64,
    /// Log records.
    pub records: u64,
    /// Bytes of log blocks.
    pub log_bytes: u64,
}

impl Chain {
    /// The newest data backup: what its pages are consistent with is said by its header.
    pub fn base(&self) -> &BackupSet {
        self.differential.as_ref().unwrap_or(&self.full)
    }

    /// Where redo begins: the log before it is in the pages of the base.
    pub fn redo_lsn(&self) -> Lsn {
        self.base().header.first_lsn
    }

    /// Where the base is consistent (exclusive): the end of the log that it holds itself.
    pub fn base_end(&self) -> Lsn {
        self.base().header.last_lsn
    }

    /// Where the chain ends (exclusive).
    pub fn end(&self) -> Lsn {
        self.logs.last().map_or(self.base_end(), |log| log.header.last_lsn)
    }

    /// The history that its LSNs belong to.
    pub fn lineage(&self) -> Lineage {
        self.base().header.lineage()
    }

    /// All its sets, in order.
    pub fn sets(&self) -> impl Iterator<Item = &BackupSet> {
        std::iter::once(&self.full).chain(&self.differential).chain(&self.logs)
    }

    /// The pages of the base.
    pub fn base_pages(&self) -> Result<BasePages, Error> {
        let differential = self.differential.as_ref().map(BackupSet::pages).transpose()?;
        Ok(BasePages::new(self.full.pages()?, differential))
    }

    /// Reads the log blocks from the one that holds `start` to the end of the chain, each once.
    /// [`Chain::redo_lsn`] is the first that is sure to be there.
    pub fn blocks(&self, start: Lsn) -> Result<SegmentBlocks, Error> {
        let mut segments: Vec<LogSegment> = Vec::new();
        for set in std::iter::once(self.base()).chain(&self.logs) {
            segments.extend(set.log_segments()?);
        }
        Ok(SegmentBlocks::new(self.database.clone(), segments, start, LogEnd::At(self.end())))
    }

    /// Reads the whole chain once, pages and log, in bounded memory: checksums, torn bits, parity, the order of the log.
    pub fn verify(&self) -> Result<Verified, Error> {
        let mut verified = self.verify_log(self.redo_lsn())?;
        for set in std::iter::once(&self.full).chain(&self.differential) {
            // Its own log was passed over above as far as a log backup holds it, too.
            verified.pages += set.verify()?;
        }
        Ok(verified)
    }

    /// Reads the log from the block that holds `start` on, as [`Chain::verify`] does.
    pub fn verify_log(&self, start: Lsn) -> Result<Verified, Error> {
        let mut verified = Verified::default();
        let mut blocks = self.blocks(start)?;
        while let Some(block) = blocks.next_block()? {
            verified.blocks += 1;
            verified.log_bytes += u64::from(block.header.len);
            for record in block.records() {
                record?;
                verified.records += 1;
            }
        }
        Ok(verified)
    }
}

/// Chooses and orders the sets of a database.
pub(crate) fn plan(database: &str, sets: &[&BackupSet], options: PlanOptions) -> Result<Chain, Error> {
    let none = |why: String| Error::NoChain { database: database.to_owned(), why };
    if let Some(set) = sets.iter().find(|s| matches!(s.header.kind, BackupKind::Partial(_))) {
        return Err(none(format!("{} is a backup of some files or filegroups only", set.path().display())));
    }
    let of_kind = |kind: BackupKind| -> Vec<&BackupSet> {
        let mut found: Vec<&BackupSet> = sets.iter().copied().filter(|s| s.header.kind == kind).collect();
        found.sort_by_key(|s| (s.header.last_lsn, s.header.first_lsn, s.header.set_guid));
        found.dedup_by_key(|s| s.header.set_guid);
        found
    };
    let (fulls, diffs, mut logs) =
        (of_kind(BackupKind::Full), of_kind(BackupKind::Differential), of_kind(BackupKind::Log));
    logs.sort_by_key(|s| (s.header.first_lsn, s.header.last_lsn));
    let Some(newest) = fulls.last() else {
        let first = diffs.first().or(logs.first());
        let what =
            first.map_or_else(String::new, |s| format!(": {} is a {} backup", s.path().display(), s.header.kind));
        return Err(none(format!("there is no full backup{what}")));
    };
    for set in sets {
        set.same_history(newest)?;
    }
    let (full, differential) = choose_base(database, &fulls, &diffs, options)?;
    let base = differential.unwrap_or(full);
    let chosen = match follow(base, &logs) {
        (chosen, Some(after)) if options.tail == Tail::Closed => {
            return Err(gap(database, chosen.last().copied().unwrap_or(base), after));
        }
        (chosen, _) => chosen,
    };
    let mut unneeded = Vec::new();
    for set in fulls.iter().chain(&diffs).chain(&logs) {
        let h = &set.header;
        let is = |other: &BackupSet| other.header.set_guid == h.set_guid;
        if is(full) || differential.is_some_and(is) || chosen.iter().copied().any(is) {
            continue;
        }
        let why = match h.kind {
            BackupKind::Log if h.first_lsn == h.last_lsn => "it holds no log",
            BackupKind::Differential if options.differentials == Differentials::Ignore => "differentials are not used",
            _ if h.last_lsn <= base.header.last_lsn => "it is older than what the chain begins with",
            BackupKind::Log => "other logs hold what it holds",
            _ => "the logs hold what it holds",
        };
        unneeded.push(Unneeded { path: set.path().to_owned(), number: set.number, why });
    }
    Ok(Chain {
        database: database.to_owned(),
        full: full.clone(),
        differential: differential.cloned(),
        logs: chosen.into_iter().cloned().collect(),
        unneeded,
    })
}

/// The full backup to begin with, and the differential of it.
fn choose_base<'a>(
    database: &str,
    fulls: &[&'a BackupSet],
    diffs: &[&'a BackupSet],
    options: PlanOptions,
) -> Result<(&'a BackupSet, Option<&'a BackupSet>), Error> {
    let by = match options.base {
        Base::EndingBy(lsn) => lsn,
        _ => Lsn::MAX,
    };
    let in_time = |set: &BackupSet| set.header.last_lsn <= by;
    let full = match options.base {
        Base::Oldest => fulls.first(),
        _ => fulls.iter().rfind(|f| in_time(f)),
    };
    let Some(full) = full.copied() else {
        let Some(first) = fulls.first() else {
            return Err(Error::NoChain { database: database.to_owned(), why: "there is no full backup".to_owned() });
        };
        return Err(Error::Gap {
            database: database.to_owned(),
            before: "the position to go on from".to_owned(),
            end: by,
            after: first.path().display().to_string(),
            begin: first.header.last_lsn,
        });
    };
    if options.differentials == Differentials::Ignore {
        return Ok((full, None));
    }
    let full_of = |diff: &BackupSet| fulls.iter().copied().find(|f| f.header.set_guid == diff.header.base_guid);
    let later = diffs.iter().copied().filter(|d| d.header.last_lsn > full.header.last_lsn && in_time(d));
    // A differential need not be of the newest full: copy-only backups are no base.
    let mut base = (full, None);
    for diff in later {
        match full_of(diff) {
            Some(of) if options.base != Base::Oldest || of.header.set_guid == full.header.set_guid => {
                base = (of, Some(diff));
            }
            Some(_) => {}
            None => {
                return Err(Error::Foreign {
                    path: diff.path().to_owned(),
                    other: full.path().to_owned(),
                    why: format!(
                        "it is a differential of backup set {} (at {}), not of {} (at {})",
                        diff.header.base_guid,
                        diff.header.database_backup_lsn,
                        full.header.set_guid,
                        full.header.checkpoint_lsn
                    ),
                });
            }
        }
    }
    Ok(base)
}

/// The logs that go on from a set, in order; and the first of those that are behind a hole.
pub(crate) fn follow<'a>(base: &BackupSet, logs: &[&'a BackupSet]) -> (Vec<&'a BackupSet>, Option<&'a BackupSet>) {
    let mut chosen: Vec<&BackupSet> = Vec::new();
    let mut reached = base.header.last_lsn;
    loop {
        // Of those that go on from here, the one that reaches furthest.
        let next = (logs.iter().copied())
            .filter(|log| log.header.first_lsn <= reached && log.header.last_lsn > reached)
            .max_by_key(|log| log.header.last_lsn);
        let Some(next) = next else { break };
        chosen.push(next);
        reached = next.header.last_lsn;
    }
    // Logs are sorted by their begin; one that begins later means that something is missing.
    (chosen, logs.iter().copied().find(|log| log.header.first_lsn > reached))
}

/// The hole between two sets.
pub(crate) fn gap(database: &str, before: &BackupSet, after: &BackupSet) -> Error {
    Error::Gap {
        database: database.to_owned(),
        before: before.path().display().to_string(),
        end: before.header.last_lsn,
        after: after.path().display().to_string(),
        begin: after.header.first_lsn,
    }
}
