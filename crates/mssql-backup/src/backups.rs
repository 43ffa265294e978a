//! Backup files as they are found: in any order, with any names, in files and folders.
//!
//! Only what the files say of themselves counts. Stripes are put together by their media set, sets are ordered by their LSNs,
//! and a file that cannot be used is remembered with the database that it belongs to, as far as it still says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::chain::{Chain, PlanOptions, Tail, plan};
use crate::error::Error;
use crate::media::{Media, Survey};
use crate::places::{AsPlace, Place, backup_files};
use crate::set::{BackupSet, Guid};

/// Backup files and the sets in them.
#[derive(Debug, Default)]
pub struct Backups {
    sets: Vec<BackupSet>,
    unusable: Vec<Unusable>,
}

/// Files that cannot be used.
#[derive(Debug)]
pub struct Unusable {
    /// The files of the media set that are there.
    pub places: Vec<Place>,
    /// The set in them, where it is known.
    pub number: Option<u16>,
    /// The database, where the files still say.
    pub database: Option<String>,
    /// What is wrong.
    pub error: Error,
}

impl Backups {
    /// Reads the headers of all backup files among the given files and in the given folders. A file of another kind is an
    /// error if it was named, and passed over if it was found in a folder.
    pub fn find<P: AsPlace>(places: &[P]) -> Result<Self, Error> {
        Self::read(backup_files(places)?)
    }

    /// Reads the headers of backup files.
    pub(crate) fn read(files: Vec<Place>) -> Result<Self, Error> {
        let mut backups = Backups::default();
        let mut media_sets: BTreeMap<Guid, Vec<Media>> = BTreeMap::new();
        for file in files {
            let Survey { media, error } = Media::survey(&file)?;
            match (media, error) {
                (Some(media), None) => media_sets.entry(Guid(media.tape.media_set)).or_default().push(media),
                (_, Some(error @ Error::WrongKind { .. })) => return Err(error),
                (media, Some(error)) => backups.unusable.push(Unusable {
                    places: vec![file],
                    number: None,
                    database: media.and_then(|m| m.sets.first().map(|s| s.config.database.clone())),
                    error,
                }),
                (None, None) => {}
            }
        }
        for mut media in media_sets.into_values() {
            // Of two copies of a file the one with more sets is the newer.
            media.sort_by_key(|m| std::cmp::Reverse(m.sets.len()));
            backups.add(&media);
        }
        backups.unusable.sort_by(|a, b| (&a.places, a.number).cmp(&(&b.places, b.number)));
        Ok(backups)
    }

    fn add(&mut self, media: &[Media]) {
        let Some(first) = media.first() else { return };
        for part in &first.sets {
            let number = part.start.number;
            match BackupSet::join(media, Some(number)) {
                Ok(set) => self.sets.push(set),
                Err(error) => self.unusable.push(Unusable {
                    places: media.iter().map(|m| m.file.place().clone()).collect(),
                    number: Some(number),
                    database: Some(part.config.database.clone()),
                    error,
                }),
            }
        }
    }

    /// The sets that can be used.
    pub fn sets(&self) -> &[BackupSet] {
        &self.sets
    }

    /// The files that cannot.
    pub fn unusable(&self) -> &[Unusable] {
        &self.unusable
    }

    /// Takes the files out that cannot be used and do not say to which database they belong: each may be the one that a database
    /// lacks, so that no database can be planned while they are there.
    pub fn take_nameless(&mut self) -> Vec<Unusable> {
        self.unusable.extract_if(.., |u| u.database.is_none()).collect()
    }

    /// The databases, by name.
    pub fn databases(&self) -> Vec<String> {
        let mut names: Vec<String> = self.sets.iter().map(|s| s.header.database.clone()).collect();
        names.extend(self.unusable.iter().filter_map(|u| u.database.clone()));
        names.sort();
        names.dedup();
        names
    }

    /// Plans how to rebuild a database; without a name there must be only one.
    ///
    /// # Errors
    /// Where a file cannot be used, does not belong to the others, or something between them is missing.
    pub fn plan(&self, database: Option<&str>, options: PlanOptions) -> Result<Chain, Error> {
        // A file that does not even say to which database it belongs may be the one that is needed.
        let concerns = |u: &&Unusable| match (&u.database, database) {
            (Some(name), Some(wanted)) => name == wanted,
            _ => true,
        };
        if let Some(unusable) = self.unusable.iter().find(concerns) {
            let error = unusable.again();
            if options.tail == Tail::Closed {
                return Err(error);
            }
            tracing::warn!("waiting for the rest of a file: {error}");
        }
        let name = match (database, self.databases().as_slice()) {
            (Some(name), _) => name.to_owned(),
            (None, [name]) => name.clone(),
            (None, []) => {
                let why = "there is no backup among the files".to_owned();
                return Err(Error::NoChain { database: String::new(), why });
            }
            (None, names) => {
                let why = format!("the files are of {} databases, name one: {}", names.len(), names.join(", "));
                return Err(Error::NoChain { database: String::new(), why });
            }
        };
        let sets: Vec<&BackupSet> = self.sets.iter().filter(|s| s.header.database == name).collect();
        plan(&name, &sets, options)
    }

    /// Plans for every database on its own: a chain, or why there is none.
    pub fn plan_all(&self, options: PlanOptions) -> Vec<(String, Result<Chain, Error>)> {
        self.databases()
            .into_iter()
            .map(|name| {
                let chain = self.plan(Some(&name), options);
                (name, chain)
            })
            .collect()
    }
}

impl Unusable {
    /// Their paths.
    pub fn paths(&self) -> impl Iterator<Item = PathBuf> {
        self.places.iter().map(|place| place.path().to_owned())
    }

    /// The error anew: it is found again where it was found.
    pub fn again(&self) -> Error {
        match BackupSet::open(&self.places, self.number) {
            Err(error) => error,
            Ok(set) => Error::NoChain {
                database: set.header.database.clone(),
                why: format!("{} changed while it was being read", set.path().display()),
            },
        }
    }
}
