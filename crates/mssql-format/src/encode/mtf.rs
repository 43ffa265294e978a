//! Backup media: Microsoft Tape Format blocks and streams as BACKUP DATABASE and BACKUP LOG write them.
//!
//! ```text
//! TAPE(RAID) SFMB | SSET VOLB MSCI(MQCI) [MSDA(MQDA)] MSTL(MQTL)... MSLS(MQCI) SFMB | ESET(OTCP TSMP) ESET SFMB
//! ```
//!
//! Every block begins a multiple of 1,024 bytes behind the last filemark; padding streams fill what is between. Pages
//! and log bytes begin on such a boundary too, two bytes behind the end of their stream's header.

mod config;

use std::mem;

use logferry_model::Lsn;

use config::{configuration, utf16};

/// Bytes of a logical block.
const BLOCK: u64 = 1024;
const HEADER: usize = 52;
const STREAM_HEADER: usize = 22;
const FILEMARK: usize = 512;
/// Log bytes in a stream are rounded up to this.
const LOG_ROUND: usize = 0x1_0000;

/// A date of MTF: year, month, day, hour, minute, second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct MtfDate {
    /// e.g. 2024
    pub year: u16,
    /// 1 to 12
    pub month: u8,
    /// 1 to 31
    pub day: u8,
    /// 0 to 23
    pub hour: u8,
    /// 0 to 59
    pub minute: u8,
    /// 0 to 59
    pub second: u8,
}

impl MtfDate {
    /// 40 bits, most significant first: year 14, month 4, day 5, hour 5, minute 6, second 6.
    pub fn to_bytes(self) -> [u8; 5] {
        let n = u64::from(self.year) << 26
            | u64::from(self.month) << 22
            | u64::from(self.day) << 17
            | u64::from(self.hour) << 12
            | u64::from(self.minute) << 6
            | u64::from(self.second);
        let [_, _, _, a, b, c, d, e] = n.to_be_bytes();
        [a, b, c, d, e]
    }
}

/// What was backed up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackupKind {
    /// `BACKUP DATABASE`
    Full,
    /// `BACKUP DATABASE ... WITH DIFFERENTIAL`
    Differential,
    /// `BACKUP LOG`
    Log,
}

/// A file of the database, as the configuration names it.
#[derive(Clone, Debug)]
pub struct BackupFile {
    /// File id, from 1.
    pub file_id: u16,
    /// Whether it is a log file.
    pub log: bool,
    /// Bytes.
    pub size: u64,
    /// Logical name.
    pub name: String,
    /// Path on the server.
    pub path: String,
    /// The file's GUID.
    pub guid: [u8; 16],
    /// Bytes of it that are in this backup.
    pub backed_up: u64,
}

/// What a backup set says of itself.
#[derive(Clone, Debug)]
pub struct BackupConfig {
    /// What was backed up.
    pub kind: BackupKind,
    /// First LSN that is in it, inclusive.
    pub first_lsn: Lsn,
    /// Where its log ends, exclusive.
    pub last_lsn: Lsn,
    /// The last checkpoint.
    pub checkpoint_lsn: Lsn,
    /// Checkpoint LSN of the last full backup before it, or zero.
    pub database_backup_lsn: Lsn,
    /// Where the last log backup ended.
    pub log_archive_lsn: Lsn,
    /// Of a differential: the checkpoint LSN and the set GUID of its full.
    pub base: Option<(Lsn, [u8; 16])>,
    /// GUID of the last full backup's set, or zero.
    pub last_full_guid: [u8; 16],
    /// When the database was made.
    pub created: MtfDate,
    /// When the backup began.
    pub started: MtfDate,
    /// When it ended.
    pub finished: MtfDate,
    /// Database.
    pub database: String,
    /// Server.
    pub server: String,
    /// Who made it.
    pub user: String,
    /// Database version.
    pub version: u16,
    /// Compatibility level.
    pub compat_level: u8,
    /// GUID of this set.
    pub set_guid: [u8; 16],
    /// GUID of the media set.
    pub media_guid: [u8; 16],
    /// Media family.
    pub family_id: u32,
    /// Binding id of the database's files.
    pub binding_id: [u8; 16],
    /// Family GUID of the database.
    pub family_guid: [u8; 16],
    /// Recovery fork: of a database that was never restored to an earlier point, its family.
    pub fork_guid: [u8; 16],
    /// Where that fork began, and the fork that it came from; zero where the database was never forked.
    pub forked_from: (Lsn, [u8; 16]),
    /// Where the log was when the database was made.
    pub create_lsn: Lsn,
    /// Its files.
    pub files: Vec<BackupFile>,
    /// This stripe's number, from 1, and how many there are.
    pub stripe: (u16, u16),
    /// Of a log backup: it holds pages of minimally logged operations, too.
    pub bulk_logged: bool,
}

/// A virtual log file, as an MSTL block describes it.
#[derive(Clone, Copy, Debug)]
pub struct VlfDescription {
    /// Log file.
    pub file_id: u32,
    /// Sequence number.
    pub sequence: u32,
    /// Bytes.
    pub size: u64,
    /// Where it begins in the log file.
    pub start: u64,
    /// Parity of its blocks.
    pub parity: u8,
    /// When it was added.
    pub create_lsn: Lsn,
}

/// Writes one backup set to a medium of its own. Bytes gather in the writer until they are [taken](Self::take).
#[derive(Debug)]
pub struct MediaWriter {
    out: Vec<u8>,
    taken: u64,
    section: u64,
    control_id: u32,
    filemarks: Vec<u64>,
    /// Number of the set on its medium.
    set: u16,
    config: BackupConfig,
}

impl MediaWriter {
    /// Begins with the medium's and the set's descriptors.
    pub fn new(config: BackupConfig) -> Self {
        let mut w =
            MediaWriter { out: Vec::new(), taken: 0, section: 0, control_id: 0, filemarks: Vec::new(), set: 1, config };
        w.tape();
        w.filemark();
        w.begin_set()
    }

    /// Begins another set at the end of a medium: `set` is its number from 2, `at` the medium's length, `filemarks` where its
    /// filemarks (SFMB blocks) are.
    pub fn append(config: BackupConfig, set: u16, at: u64, filemarks: Vec<u64>) -> Self {
        MediaWriter { out: Vec::new(), taken: at, section: at, control_id: 0, filemarks, set, config }.begin_set()
    }

    fn begin_set(mut self) -> Self {
        let w = &mut self;
        w.set_start();
        w.volume();
        w.configuration(*b"MSCI");
        self
    }

    /// Hands over the bytes written since the last call.
    pub fn take(&mut self) -> Vec<u8> {
        self.taken += self.out.len() as u64;
        mem::take(&mut self.out)
    }

    /// Begins a data pass of `len` bytes of pages: exactly so many must be [written](Self::raw) or [skipped](Self::skip), then
    /// [`end_data`](Self::end_data) called.
    pub fn begin_data(&mut self, len: u64) {
        let start = self.begin_block(*b"MSDA", 0, 0, &[0, 0, 0, 0, 0, 0, 1, 0]);
        self.finish_header(start);
        self.align_payload();
        self.stream(*b"MQDA", 2, len + 2);
        self.out.extend([0, 0]);
    }

    /// Pages of a data pass.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Says that the caller wrote this many bytes of pages to the medium by itself.
    ///
    /// # Panics
    /// When bytes wait to be taken: they come before.
    pub fn skip(&mut self, len: u64) {
        assert!(self.out.is_empty(), "bytes wait to be taken");
        self.taken += len;
    }

    /// Ends a data pass.
    pub fn end_data(&mut self) {
        self.stream(*b"MQDA", 6, 0);
        self.pad_block();
    }

    /// A virtual log file: `log` is where the bytes begin in the log file, and the bytes; `None` where nothing
    /// of it is in this backup.
    pub fn vlf(&mut self, vlf: &VlfDescription, log: Option<(u64, &[u8])>) {
        let mut body = vec![0u8; 0x254 - HEADER];
        let mut set = |at: usize, bytes: &[u8]| body[at - HEADER..][..bytes.len()].copy_from_slice(bytes);
        set(0x38, &0x1_0000u32.to_le_bytes());
        if let Some((start, bytes)) = log {
            set(0x3C, &start.to_le_bytes());
            set(0x44, &(start + bytes.len() as u64).to_le_bytes());
            set(0x5C, &vlf.sequence.to_le_bytes());
        }
        set(0x4C, &vlf.file_id.to_le_bytes());
        set(0x50, &[0xF8, 0x01, 0x5C, 0x00]);
        set(0x60, &vlf.size.to_le_bytes());
        set(0x68, &vlf.start.to_le_bytes());
        set(0x70, &[2, 0, vlf.parity]);
        set(0x74, &vlf.create_lsn.to_le_bytes());
        set(0x7E, &5u16.to_le_bytes());
        let start = self.begin_block(*b"MSTL", 0, 0, &body);
        self.finish_header(start);
        if let Some((_, bytes)) = log {
            self.align_payload();
            let rounded = bytes.len().next_multiple_of(LOG_ROUND);
            self.stream(*b"MQTL", 0, rounded as u64 + 2);
            self.out.extend([0, 0]);
            self.out.extend_from_slice(bytes);
            self.out.resize(self.out.len() + rounded - bytes.len(), 0);
        }
        self.pad_block();
    }

    /// Ends the set and the medium; `config` is what became of it. The bytes are there to be taken.
    pub fn finish(&mut self, config: BackupConfig) {
        self.config = config;
        self.configuration(*b"MSLS");
        self.filemark();
        let first = self.position();
        for number in 0..2 {
            let mut body = vec![0u8; 36];
            body[..4].copy_from_slice(&self.set_attributes().to_le_bytes());
            if number == 1 {
                body[8..16].copy_from_slice(&first.to_le_bytes());
            }
            body[26..28].copy_from_slice(&self.set.to_le_bytes());
            body[28..33].copy_from_slice(&self.config.finished.to_bytes());
            let start = self.begin_block(*b"ESET", 0, 0, &body);
            // Neither has a place in the set's own numbering.
            self.out[start + 20..start + 28].fill(0);
            self.out[start + 36..start + 40].fill(0);
            self.finish_header(start);
            if number == 0 {
                self.stream(*b"OTCP", 0, 0x392);
                self.out.resize(self.out.len() + 0x392, 0);
                self.align(4);
                self.stream(*b"TSMP", 0, 0xFE);
                let at = self.out.len();
                self.out.resize(at + 0xFE, 0);
                self.out[at..at + 4].copy_from_slice(&self.config.family_id.to_le_bytes());
                self.out[at + 4] = 1;
            }
            self.pad_block();
        }
        self.filemark();
    }

    fn position(&self) -> u64 {
        self.taken + self.out.len() as u64
    }

    fn set_attributes(&self) -> u32 {
        match self.config.kind {
            BackupKind::Full | BackupKind::Log => 4,
            BackupKind::Differential => 8,
        }
    }

    fn tape(&mut self) {
        let mut body = vec![0u8; 42];
        body[..4].copy_from_slice(&self.config.family_id.to_le_bytes());
        body[4] = 5;
        body[8] = 1;
        body[12] = 1;
        body[14] = 3;
        let name = utf16("Microsoft SQL Server\0");
        body[28..30].copy_from_slice(&(name.len() as u16 + 2).to_le_bytes());
        body[30..32].copy_from_slice(&(HEADER as u16 + 42).to_le_bytes());
        body[32..34].copy_from_slice(&(BLOCK as u16).to_le_bytes());
        body[35] = 0x12;
        body[36..41].copy_from_slice(&self.config.started.to_bytes());
        body[41] = 1;
        body.extend(name);
        body.extend([0; 4]);
        let start = self.begin_block(*b"TAPE", 0x3_0000, 2, &body);
        self.finish_header(start);
        let (number, count) = self.config.stripe;
        let mut raid = self.config.media_guid.to_vec();
        raid.extend([0xAD, 0, 0, 0xF0]);
        for n in [count, 1, number, 0, 0, 1] {
            raid.extend(n.to_le_bytes());
        }
        self.stream(*b"RAID", 0, raid.len() as u64);
        self.out.extend(raid);
        self.pad_block();
    }

    fn set_start(&mut self) {
        let user = utf16(&self.config.user);
        let mut body = vec![0u8; 70];
        body[..4].copy_from_slice(&self.set_attributes().to_le_bytes());
        body[8..10].copy_from_slice(&[0, 0x12]);
        body[10..12].copy_from_slice(&self.set.to_le_bytes());
        body[24..26].copy_from_slice(&(user.len() as u16).to_le_bytes());
        body[26..28].copy_from_slice(&122u16.to_le_bytes());
        body[28..36].copy_from_slice(&self.position().to_le_bytes());
        body[36..41].copy_from_slice(&self.config.started.to_bytes());
        body[41..48].copy_from_slice(&[0x0D, 0, 4, 0, 2, 0, 0]);
        body[48..64].copy_from_slice(&self.config.set_guid);
        body.extend(user);
        self.control_id = 0;
        let start = self.begin_block(*b"SSET", 0, 2, &body);
        // OS specific data: the set's GUID.
        self.out[start + 44..start + 48].copy_from_slice(&[0x15, 0, 0x64, 0]);
        self.finish_header(start);
        self.pad_block();
    }

    fn volume(&mut self) {
        let machine = utf16(self.config.server.split('\\').next().unwrap_or_default());
        let mut body = vec![0u8; 21];
        body[0] = 2;
        body[4..8].copy_from_slice(&[4, 0, 0x49, 0]);
        body[10] = 0x4D;
        body[12..14].copy_from_slice(&(machine.len() as u16).to_le_bytes());
        body[14] = 0x4D;
        body[16..21].copy_from_slice(&self.config.started.to_bytes());
        body.extend(utf16("C:"));
        body.extend(machine);
        let start = self.begin_block(*b"VOLB", 0, 2, &body);
        self.finish_header(start);
        self.pad_block();
    }

    fn configuration(&mut self, kind: [u8; 4]) {
        let start = self.begin_block(kind, 0, 2, &[0; 4]);
        self.finish_header(start);
        let config = configuration(&self.config);
        self.stream(*b"MQCI", 0, config.len() as u64);
        self.out.extend(config);
        self.pad_block();
    }

    /// Writes a block's header and body; the caller may change it, then must call [`finish_header`](Self::finish_header).
    fn begin_block(&mut self, kind: [u8; 4], attributes: u32, strings: u8, body: &[u8]) -> usize {
        let start = self.out.len();
        let logical = (self.position() - self.section) / BLOCK;
        self.out.extend(kind);
        self.out.extend(attributes.to_le_bytes());
        let first_stream = (HEADER + body.len()).next_multiple_of(4);
        self.out.extend((first_stream as u16).to_le_bytes());
        self.out.extend([0x0E, 1]);
        self.out.resize(start + 20, 0);
        self.out.extend(logical.to_le_bytes());
        self.out.resize(start + 36, 0);
        self.out.extend(self.control_id.to_le_bytes());
        self.out.resize(start + 48, 0);
        self.out.extend([strings, 0, 0, 0]);
        self.out.extend_from_slice(body);
        self.out.resize(start + first_stream, 0);
        self.control_id += 1;
        start
    }

    fn finish_header(&mut self, start: usize) {
        let sum = xor(&self.out[start..start + 50]);
        self.out[start + 50..start + 52].copy_from_slice(&sum.to_le_bytes());
    }

    fn stream(&mut self, kind: [u8; 4], media_attributes: u16, len: u64) {
        self.align(4);
        let start = self.out.len();
        self.out.extend(kind);
        self.out.extend([0; 2]);
        self.out.extend(media_attributes.to_le_bytes());
        self.out.extend(len.to_le_bytes());
        self.out.extend([0; 4]);
        let sum = xor(&self.out[start..start + 20]);
        self.out.extend(sum.to_le_bytes());
    }

    /// An APAD, so that the next stream's payload begins a logical block.
    fn align_payload(&mut self) {
        self.align(4);
        let here = self.position() - self.section;
        let head = STREAM_HEADER as u64;
        let payload = (here + 2 * head + 2).next_multiple_of(BLOCK);
        let pad = payload - 2 - head - here - head;
        self.stream(*b"APAD", 0x80, pad);
        self.out.resize(self.out.len() + pad as usize, 0);
    }

    /// An SPAD up to the next logical block.
    fn pad_block(&mut self) {
        self.align(4);
        let here = self.position() - self.section + STREAM_HEADER as u64;
        let pad = here.next_multiple_of(BLOCK) - here;
        self.stream(*b"SPAD", 0, pad);
        self.out.resize(self.out.len() + pad as usize, 0);
    }

    fn filemark(&mut self) {
        let position = self.position();
        let start = self.out.len();
        self.out.extend(*b"SFMB");
        self.out.extend([0, 0, 0, 0x80, 0, 2, 0x0E, 1]);
        self.out.resize(start + FILEMARK, 0);
        let block = &mut self.out[start..];
        block[52] = 0x37;
        block[56..60].copy_from_slice(&(self.filemarks.len() as u32).to_le_bytes());
        block[60] = 0x48;
        for (n, mark) in self.filemarks.iter().rev().take(54).enumerate() {
            block[72 + 8 * n..][..8].copy_from_slice(&mark.to_le_bytes());
        }
        self.finish_header(start);
        self.filemarks.push(position);
        self.section = self.position();
    }

    fn align(&mut self, to: u64) {
        let pad = self.position().next_multiple_of(to) - self.position();
        self.out.resize(self.out.len() + pad as usize, 0);
    }
}

fn xor(bytes: &[u8]) -> u16 {
    bytes.chunks_exact(2).fold(0, |sum, b| sum ^ u16::from_le_bytes([b[0], b[1]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_as_on_tape() {
        // Of a backup made on 2019-05-02 at 21:00:55: the TAPE block's date.
        let date = MtfDate { year: 2019, month: 5, day: 2, hour: 21, minute: 0, second: 55 };
        assert_eq!(date.to_bytes(), [0x1F, 0x8D, 0x45, 0x50, 0x37]);
    }
}
