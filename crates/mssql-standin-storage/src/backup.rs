//! Checkpoints, backups, and the files of the database itself.

use std::collections::BTreeSet;
use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::path::Path;

use logferry_model::Lsn;
use logferry_mssql_format::encode::{
    BackupConfig, BackupFile, BackupKind, ColumnChunk, FileHeader, MediaWriter, MtfDate, VlfDescription,
    file_header_page,
};
use logferry_mssql_format::log::op::Context;
use logferry_mssql_format::page::{EXTENT_PAGES, PAGE_SIZE};

use super::log::Vlf;
use super::media::Medium;
use super::space::DIFF_MAP;
use super::xact::{SystemXact, XactOptions};
use super::{By, Database, Error, FILE, Ids, LOG_FILE, VERSION, transaction_id};

const EXTENT_BYTES: usize = EXTENT_PAGES as usize * PAGE_SIZE;
/// Extents that every data pass begins with, and that a second pass repeats.
const FIRST_EXTENTS: u32 = 2;
/// Bytes of the log in front of its first virtual log file.
const LOG_HEADER: usize = 8192;

/// What backups were made.
#[derive(Debug)]
pub(super) struct History {
    pub ids: Ids,
    /// Checkpoint LSN and set GUID of the last full backup.
    pub full: Option<(Lsn, [u8; 16])>,
    /// Where the last log backup ended; zero before the first full backup.
    pub log_archive: Lsn,
    /// Where the log of the last backup of any kind ends.
    pub last_lsn: Lsn,
    /// Where the log begins that a full backup will need whose pages are being copied.
    running: Option<Lsn>,
    /// Whether a backup to a file that is there becomes its next set.
    append: bool,
}

impl History {
    pub fn new(ids: Ids) -> Self {
        History { ids, full: None, log_archive: Lsn::ZERO, last_lsn: Lsn::ZERO, running: None, append: false }
    }

    /// Where the last log backup ended.
    pub fn log_archived(&self) -> Option<Lsn> {
        (self.log_archive != Lsn::ZERO).then_some(self.log_archive)
    }
}

/// A full backup whose pages are being copied. The database goes on changing: the log of the time is part of the
/// backup.
#[derive(Debug)]
pub struct FullBackup {
    first_lsn: Lsn,
    checkpoint: Lsn,
    started: MtfDate,
    extents: Vec<u32>,
    copied: Vec<u8>,
    next: usize,
}

impl FullBackup {
    /// Extents that are still to be copied.
    pub fn left(&self) -> usize {
        self.extents.len() - self.next
    }
}

impl Database {
    /// Writes a checkpoint; gives the LSN of its begin.
    pub fn checkpoint(&mut self) -> Lsn {
        self.clock.advance(2);
        self.flush_counts();
        let (time, previous, next) = (self.clock.datetime(), self.checkpoint_lsn, transaction_id(self.next_xact));
        let begin = self.write(By::None, |r, _| {
            r.begin_checkpoint(previous, time, VERSION, next);
        });
        self.log.flush();
        let open: Vec<_> = self.xacts.iter().map(|(id, x)| (transaction_id(*id), x.begin_lsn)).collect();
        self.write(By::None, |r, _| {
            r.xact_checkpoint(&open);
        });
        self.log.flush();
        let time = self.clock.datetime();
        let oldest = self.oldest_active().map_or(begin, |lsn| lsn.min(begin));
        self.write(By::None, |r, _| {
            r.end_checkpoint(begin, time, oldest, VERSION);
        });
        self.log.flush();
        self.checkpoint_lsn = begin;
        // The boot page's own note of it is not logged.
        let next = self.next_xact.to_le_bytes();
        let boot = self.page_mut(super::BOOT_PAGE).bytes_mut();
        boot[96 + 348..96 + 358].copy_from_slice(&begin.to_le_bytes());
        boot[96 + 372..96 + 382].copy_from_slice(&begin.to_le_bytes());
        boot[96 + 384..96 + 390].copy_from_slice(&next[..6]);
        self.release_log();
        begin
    }

    /// Puts the database on another recovery fork, as recovery at an earlier point does. No transaction may be open.
    pub fn begin_fork(&mut self, fork: [u8; 16]) {
        self.checkpoint();
        self.guids.forked_from = (self.log.end(), self.guids.fork);
        self.guids.fork = fork;
        // Recovery notes it in the pages without logging it.
        let boot = self.page_mut(super::BOOT_PAGE).bytes_mut();
        boot[96 + 456..96 + 472].copy_from_slice(&fork);
        self.write_file_header();
    }

    /// Writes a full backup to a file.
    pub fn backup_full(&mut self, path: &Path) -> Result<(), Error> {
        self.writable()?;
        let mut backup = self.begin_backup();
        self.copy_pages(&mut backup, usize::MAX);
        self.finish_backup(backup, path)
    }

    /// Begins a full backup, to be copied in steps while the database changes.
    pub fn begin_backup(&mut self) -> FullBackup {
        let started = self.clock.mtf();
        self.clear_differential_map();
        let checkpoint = self.checkpoint();
        let first_lsn = self.oldest_active().map_or(checkpoint, |lsn| lsn.min(checkpoint));
        self.backups.running = Some(first_lsn);
        FullBackup { first_lsn, checkpoint, started, extents: self.allocated_extents(), copied: Vec::new(), next: 0 }
    }

    /// Copies up to `count` more extents as they are now.
    pub fn copy_pages(&mut self, backup: &mut FullBackup, count: usize) {
        // What is on a copied page is in the log before it.
        self.log.flush();
        let end = backup.extents.len().min(backup.next.saturating_add(count));
        for at in backup.next..end {
            self.copy_extent(backup.extents[at], &mut backup.copied);
        }
        backup.next = end;
    }

    /// Ends a full backup: copies what is left and writes the file.
    pub fn finish_backup(&mut self, mut backup: FullBackup, path: &Path) -> Result<(), Error> {
        self.copy_pages(&mut backup, usize::MAX);
        self.clock.advance(300);
        let last_lsn = self.log.end();
        let previous = self.backups.full;
        let archive = if self.backups.log_archive.is_zero() { backup.first_lsn } else { self.backups.log_archive };
        let mut config = self.config(BackupKind::Full, backup.started);
        config.first_lsn = backup.first_lsn;
        config.last_lsn = last_lsn;
        config.checkpoint_lsn = backup.checkpoint;
        config.database_backup_lsn = previous.map_or(Lsn::ZERO, |f| f.0);
        config.last_full_guid = previous.map_or([0; 16], |f| f.1);
        config.log_archive_lsn = archive;
        config.files[0].backed_up = backup.copied.len() as u64;
        let guid = config.set_guid;
        let mut second = Vec::new();
        for extent in 0..FIRST_EXTENTS {
            self.copy_extent(extent, &mut second);
        }
        self.write_set(path, config, &[backup.copied, second], (backup.first_lsn, last_lsn))?;
        self.backups.full = Some((backup.checkpoint, guid));
        self.backups.log_archive = archive;
        self.backups.running = None;
        let (lsn, before) = (backup.checkpoint.to_le_bytes(), Context::BOOT_PAGE_CKPT);
        self.change_boot(By::None, before, 336, &lsn, 2);
        self.change_boot(By::None, before, 500, &guid, 2);
        self.log.flush();
        self.release_log();
        Ok(())
    }

    /// Writes a differential backup: the extents that changed since the last full one.
    pub fn backup_diff(&mut self, path: &Path) -> Result<(), Error> {
        self.writable()?;
        let base = self.backups.full.ok_or(Error::NoFullBackup)?;
        let started = self.clock.mtf();
        let checkpoint = self.checkpoint();
        let first_lsn = self.oldest_active().map_or(checkpoint, |lsn| lsn.min(checkpoint));
        let mut pages = Vec::new();
        let allocated: BTreeSet<u32> = self.allocated_extents().into_iter().collect();
        for extent in allocated {
            if extent < FIRST_EXTENTS || self.map_bit(DIFF_MAP, extent) {
                self.copy_extent(extent, &mut pages);
            }
        }
        self.clock.advance(300);
        let last_lsn = self.log.end();
        let mut config = self.config(BackupKind::Differential, started);
        config.first_lsn = first_lsn;
        config.last_lsn = last_lsn;
        config.checkpoint_lsn = checkpoint;
        config.database_backup_lsn = base.0;
        config.last_full_guid = base.1;
        config.base = Some(base);
        config.log_archive_lsn = self.backups.log_archive;
        config.files[0].backed_up = pages.len() as u64;
        self.write_set(path, config, &[pages], (first_lsn, last_lsn))
    }

    /// Writes a log backup: the log since the last one.
    pub fn backup_log(&mut self, path: &Path) -> Result<(), Error> {
        self.backup_log_with(path, &[])
    }

    /// The same, with the extents of minimally logged operations, of which there are none here. In which order a server writes log and
    /// extents is not known.
    pub fn backup_log_with(&mut self, path: &Path, extents: &[u32]) -> Result<(), Error> {
        self.writable()?;
        let full = self.backups.full.ok_or(Error::NoFullBackup)?;
        let started = self.clock.mtf();
        self.clock.advance(90);
        let (first_lsn, last_lsn) = (self.backups.log_archive, self.log.end());
        let mut config = self.config(BackupKind::Log, started);
        config.first_lsn = first_lsn;
        config.last_lsn = last_lsn;
        config.checkpoint_lsn = self.checkpoint_lsn;
        config.database_backup_lsn = full.0;
        config.last_full_guid = full.1;
        config.log_archive_lsn = first_lsn;
        config.bulk_logged = !extents.is_empty();
        let mut pages = Vec::new();
        for &extent in extents {
            self.copy_extent(extent, &mut pages);
        }
        config.files[0].backed_up = pages.len() as u64;
        let passes = if pages.is_empty() { Vec::new() } else { vec![pages] };
        self.write_set(path, config, &passes, (first_lsn, last_lsn))?;
        self.backups.log_archive = last_lsn;
        self.note_log_archive(last_lsn);
        self.release_log();
        Ok(())
    }

    /// Whether backups to a file that is there become its next sets (`NOINIT`), or take its place (`INIT`).
    pub fn append_backups(&mut self, append: bool) {
        self.backups.append = append;
    }

    /// Where the log of the last backup ends, exclusive; zero where there is none.
    pub fn last_backup_lsn(&self) -> Lsn {
        self.backups.last_lsn
    }

    /// Writes the data file, as after a clean shutdown.
    pub fn write_data_file(&mut self, path: &Path) -> Result<(), Error> {
        self.writable()?;
        self.checkpoint();
        self.write_file_header();
        let mut file = create(path)?;
        for page in 0..self.pages.len() {
            let bytes = self.pages[page].as_ref().map_or([0; PAGE_SIZE], |p| p.sealed());
            file.write_all(&bytes).map_err(|e| write_error(path, e))?;
        }
        file.flush().map_err(|e| write_error(path, e))
    }

    /// Writes the log file.
    pub fn write_log_file(&mut self, path: &Path) -> Result<(), Error> {
        self.writable()?;
        self.log.flush();
        let mut bytes = self.log.file_bytes();
        let header = file_header_page(&FileHeader {
            binding_id: self.guids.binding,
            file_guid: self.guids.log_file,
            file_id: LOG_FILE,
            filegroup_id: 0,
            size: bytes.len() as u64,
            max_pages: 0x1000_0000,
            growth_pages: 8192,
            create_lsn: Lsn::ZERO,
            fork_guid: [0; 16],
            name: format!("{}_log", self.options.name),
        });
        bytes[..LOG_HEADER].copy_from_slice(&header.sealed());
        let mut file = create(path)?;
        file.write_all(&bytes).and_then(|()| file.flush()).map_err(|e| write_error(path, e))
    }

    /// Lets the log forget what nothing needs: open transactions, the last checkpoint, what is not backed up yet, CDC.
    pub(super) fn release_log(&mut self) {
        if self.log.is_frozen() {
            return;
        }
        let mut hold = self.checkpoint_lsn;
        if let Some(oldest) = self.oldest_active() {
            hold = hold.min(oldest);
        }
        if !self.backups.log_archive.is_zero() {
            hold = hold.min(self.backups.log_archive);
        }
        for needed in [self.backups.running, self.replication_lsn()].into_iter().flatten() {
            hold = hold.min(needed);
        }
        // What was given up is never taken back.
        self.log.hold = self.log.hold.max(hold);
    }

    /// What a log backup does that somebody else makes: the log before a record (none: all of it so far) is not there any more, as far as open transactions and CDC
    /// let it go. Gives where it begins now.
    ///
    /// # Errors
    /// When there is no such record, or nothing may be changed.
    pub fn truncate_log(&mut self, before: Option<Lsn>) -> Result<Lsn, Error> {
        self.writable()?;
        if let Some(lsn) = before.filter(|lsn| !self.has_log_record(*lsn)) {
            return Err(Error::NotFound(format!("log record {lsn}")));
        }
        self.checkpoint();
        let end = self.end_of_log();
        // Before the first full backup nothing waits for one of the log.
        if !self.backups.log_archive.is_zero() {
            self.backups.log_archive = self.backups.log_archive.max(before.unwrap_or(end));
        }
        self.release_log();
        Ok(self.log.hold)
    }

    /// A full backup begins a new differential map: only the first two extents are in it.
    fn clear_differential_map(&mut self) {
        let used = self.pages.len().div_ceil(EXTENT_PAGES as usize).div_ceil(8);
        let at = logferry_mssql_format::encode::MAP_BITS_OFFSET;
        let before = self.page(DIFF_MAP).bytes()[at..at + used].to_vec();
        let mut after = vec![0; used];
        after[0] = (1 << FIRST_EXTENTS) - 1;
        let last = before.iter().zip(&after).rposition(|(a, b)| a != b);
        let Some(last) = last else { return };
        let (before, after) = (&before[..=last], &after[..=last]);
        self.write_page(By::None, DIFF_MAP, 1, |r, h, t| {
            let chunk = ColumnChunk { old_offset: 4, new_offset: 4, old_len: before.len() as u16, before, after };
            r.clear_gam_bits(h, t, &chunk);
        });
        self.page_mut(DIFF_MAP).bytes_mut()[at..=at + last].copy_from_slice(after);
    }

    /// What a server writes when a log backup is done.
    fn note_log_archive(&mut self, lsn: Lsn) {
        let name = "Backup:CommitLogArchivePoint";
        let outer = self.begin(XactOptions { name, spid: 53 });
        let inner = self.begin_system(outer.0, name, SystemXact::Nested);
        for offset in [324, 524] {
            self.change_boot(By::Xact(inner), Context::BOOT_PAGE, offset, &lsn.to_le_bytes(), 6);
        }
        let time = self.clock.datetime();
        self.change_boot(By::Xact(inner), Context::BOOT_PAGE, 20, &time, 6);
        self.end_system(inner);
        self.end_system(outer.0);
        self.log.flush();
    }

    fn copy_extent(&self, extent: u32, out: &mut Vec<u8>) {
        out.reserve(EXTENT_BYTES);
        for page in extent * EXTENT_PAGES..(extent + 1) * EXTENT_PAGES {
            match &self.pages[page as usize] {
                Some(page) => out.extend_from_slice(&page.sealed()),
                None => out.resize(out.len() + PAGE_SIZE, 0),
            }
        }
    }

    fn config(&mut self, kind: BackupKind, started: MtfDate) -> BackupConfig {
        let ids = &mut self.backups.ids;
        let (set_guid, media_guid, family_id) = (ids.guid(), ids.guid(), ids.next() as u32);
        let (name, create) = (self.options.name.clone(), Lsn::new(self.options.first_vlf, 16, 1));
        let folder = "C:\\Program Files\\Microsoft SQL Server\\MSSQL13.MSSQLSERVER\\MSSQL\\DATA";
        BackupConfig {
            kind,
            first_lsn: Lsn::ZERO,
            last_lsn: Lsn::ZERO,
            checkpoint_lsn: Lsn::ZERO,
            database_backup_lsn: Lsn::ZERO,
            log_archive_lsn: Lsn::ZERO,
            base: None,
            last_full_guid: [0; 16],
            created: self.created,
            started,
            finished: self.clock.mtf(),
            database: name.clone(),
            server: self.options.server.clone(),
            user: format!("{}\\standin", self.options.server),
            version: VERSION,
            compat_level: 130,
            set_guid,
            media_guid,
            family_id,
            binding_id: self.guids.binding,
            family_guid: self.guids.family,
            fork_guid: self.guids.fork,
            forked_from: self.guids.forked_from,
            create_lsn: create,
            files: vec![
                BackupFile {
                    file_id: FILE,
                    log: false,
                    size: (self.pages.len() * PAGE_SIZE) as u64,
                    name: name.clone(),
                    path: format!("{folder}\\{name}.mdf"),
                    guid: self.guids.data_file,
                    backed_up: 0,
                },
                BackupFile {
                    file_id: LOG_FILE,
                    log: true,
                    size: self.log.file_len(),
                    name: format!("{name}_log"),
                    path: format!("{folder}\\{name}_log.ldf"),
                    guid: self.guids.log_file,
                    backed_up: 0,
                },
            ],
            stripe: (1, 1),
            bulk_logged: false,
        }
    }

    fn write_set(
        &mut self,
        path: &Path,
        mut config: BackupConfig,
        passes: &[Vec<u8>],
        (from, to): (Lsn, Lsn),
    ) -> Result<(), Error> {
        let ranges = self.log.range(from, to);
        if passes.is_empty() {
            config.files[1].backed_up = ranges.iter().map(|r| r.2.len() as u64).sum();
        }
        config.finished = self.clock.mtf();
        let found = if self.backups.append { super::media::medium(path)? } else { Medium::default() };
        let (mut file, mut media) = match found {
            Medium { len: 0, .. } => (create(path)?, MediaWriter::new(config.clone())),
            Medium { sets, filemarks, len } => {
                let file = OpenOptions::new().append(true).open(path).map_err(|e| write_error(path, e))?;
                (BufWriter::new(file), MediaWriter::append(config.clone(), sets + 1, len, filemarks))
            }
        };
        let mut put = |bytes: &[u8]| file.write_all(bytes).map_err(|e| write_error(path, e));
        for pass in passes {
            media.begin_data(pass.len() as u64);
            put(&media.take())?;
            put(pass)?;
            media.skip(pass.len() as u64);
            media.end_data();
        }
        let describe = |vlf: &Vlf| VlfDescription {
            file_id: u32::from(LOG_FILE),
            sequence: vlf.header.sequence,
            size: vlf.header.size,
            start: vlf.header.start,
            parity: vlf.header.parity(),
            create_lsn: vlf.header.create_lsn,
        };
        for (vlf, start, bytes) in &ranges {
            media.vlf(&describe(vlf), Some((*start, bytes)));
            put(&media.take())?;
        }
        for vlf in self.log.vlfs() {
            if !ranges.iter().any(|r| r.0.header.start == vlf.header.start) {
                media.vlf(&describe(vlf), None);
            }
        }
        media.finish(config);
        put(&media.take())?;
        file.flush().map_err(|e| write_error(path, e))?;
        self.backups.last_lsn = to;
        Ok(())
    }
}

fn create(path: &Path) -> Result<BufWriter<File>, Error> {
    File::create(path).map(BufWriter::new).map_err(|e| write_error(path, e))
}

fn write_error(path: &Path, source: std::io::Error) -> Error {
    Error::Write { path: path.display().to_string(), source }
}
