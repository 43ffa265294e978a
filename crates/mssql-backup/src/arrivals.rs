//! Backups that arrive while a chain is followed.
//!
//! A file counts once it has not changed from one look to the next: whoever copies it is done, or pauses. Then its headers are read, and
//! if it is a log backup that goes on where the chain ends, all of it. What is not whole yet, lacks a stripe or lies behind a hole
//! waits for what is still to come, and is looked at again when any file has changed. Only a file of another history is an error: waiting does
//! not mend that.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::backups::Backups;
use crate::chain::{Chain, follow, gap};
use crate::error::Error;
use crate::places::{AsPlace, Place, State, backup_files};
use crate::set::{BackupKind, BackupSet};

/// Where to look for files that arrive, and how often.
#[derive(Clone, Debug)]
pub struct Watch {
    /// Files and folders.
    pub places: Vec<Place>,
    /// Time between two looks.
    pub every: Duration,
}

/// The backup files of some paths as they are at a moment: cheap to make and to compare, beside reading what is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing(Vec<(Place, State)>);

impl Listing {
    /// Lists files, and those of folders.
    ///
    /// # Errors
    /// Where one cannot be read.
    pub fn of<P: AsPlace>(places: &[P]) -> Result<Self, Error> {
        // A file that is gone again is as good as one that never came.
        let state = |place: Place| place.state().map(|state| (place, state));
        Ok(Listing(backup_files(places)?.into_iter().filter_map(state).collect()))
    }
}

/// Sees which files are new.
pub(crate) struct Arrivals {
    pub(crate) watch: Watch,
    /// Files as they were at the last look.
    seen: HashMap<PathBuf, State>,
    /// Files of which nothing will be needed any more, as long as they stay as they are: a set may be appended.
    settled: HashMap<PathBuf, State>,
    /// Files that did not change from one look to the next, at the last look that went on to read them.
    read: Vec<(Place, State)>,
    /// What was last said about what is waited for.
    said: String,
}

impl Arrivals {
    pub(crate) fn new(watch: Watch) -> Self {
        Arrivals { watch, seen: HashMap::new(), settled: HashMap::new(), read: Vec::new(), said: String::new() }
    }

    /// The log backups that go on where a chain ends, in order; often none.
    ///
    /// # Errors
    /// Where the folder cannot be read, and where a file is of another history of the database.
    pub(crate) fn look(&mut self, chain: &Chain) -> Result<Vec<BackupSet>, Error> {
        if !self.has_changed()? {
            return Ok(Vec::new());
        }
        let backups = Backups::read(self.read.iter().map(|(place, _)| place.clone()).collect())?;
        let end = chain.end();
        let mut logs: Vec<&BackupSet> = Vec::new();
        for set in backups.sets().iter().filter(|s| s.header.database == chain.database) {
            if set.header.kind == BackupKind::Log && set.header.last_lsn > end {
                set.same_history(chain.base())?;
                logs.push(set);
            }
        }
        logs.sort_by_key(|set| (set.header.first_lsn, set.header.last_lsn));
        let last = chain.logs.last().unwrap_or(chain.base());
        let (next, behind_hole) = follow(last, &logs);
        let mut waiting = behind_hole.map(|after| gap(&chain.database, next.last().copied().unwrap_or(last), after));
        let mut taken = Vec::new();
        for set in next {
            if let Err(error) = set.verify() {
                waiting = Some(error);
                break;
            }
            tracing::info!(file = %set.path().display(), to = %set.header.last_lsn, "a log backup has arrived");
            taken.push(set.clone());
        }
        let reached = taken.last().map_or(end, |set| set.header.last_lsn);
        let ahead = logs.iter().filter(|set| set.header.last_lsn > reached).flat_map(|set| paths(set));
        let unusable = backups.unusable().iter().flat_map(|u| u.places.iter().map(Place::path));
        let needed: HashSet<&Path> = ahead.chain(unusable).collect();
        let settled = self.read.iter().filter(|(place, _)| !needed.contains(place.path()));
        self.settled.extend(settled.map(|(place, state)| (place.path().to_owned(), state.clone())));
        let concerns = |name: &Option<String>| name.as_ref().is_none_or(|name| *name == chain.database);
        let waiting = waiting.or_else(|| backups.unusable().iter().find(|u| concerns(&u.database)).map(|u| u.again()));
        self.say(waiting);
        Ok(taken)
    }

    /// Finds the files that may be needed and have come to rest; whether they are others than those that were read last.
    fn has_changed(&mut self) -> Result<bool, Error> {
        let mut now = HashMap::new();
        let mut at_rest = Vec::new();
        for (place, state) in Listing::of(&self.watch.places)?.0 {
            if self.settled.get(place.path()) == Some(&state) {
                continue;
            }
            now.insert(place.path().to_owned(), state.clone());
            if self.seen.get(place.path()) == Some(&state) {
                at_rest.push((place, state));
            }
        }
        self.seen = now;
        let changed = at_rest != self.read && !at_rest.is_empty();
        self.read = at_rest;
        Ok(changed)
    }

    /// Says what is waited for, once.
    fn say(&mut self, waiting: Option<Error>) {
        let text = waiting.map(|error| error.to_string()).unwrap_or_default();
        if !text.is_empty() && text != self.said {
            tracing::warn!("waiting for more files: {text}");
        }
        self.said = text;
    }
}

/// All files of a set.
fn paths(set: &BackupSet) -> impl Iterator<Item = &Path> {
    set.parts().iter().map(|(file, _)| file.path())
}
