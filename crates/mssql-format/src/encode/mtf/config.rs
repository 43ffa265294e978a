//! What a backup set says of itself: the structures of its configuration.

use super::{BackupConfig, BackupFile, BackupKind};

/// The payload of an MQCI stream: SCIN, then SFGI, then one SFIN per file.
pub(super) fn configuration(c: &BackupConfig) -> Vec<u8> {
    const SCIN: usize = 0x190;
    let (database, server) = (utf16(&c.database), utf16(&c.server));
    let backed_up: u64 = c.files.iter().map(|f| f.backed_up).sum();
    let mut b = vec![0u8; SCIN];
    let mut set = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"SCIN");
    set(4, &((SCIN + database.len() + server.len()) as u16).to_le_bytes());
    let flags = if c.kind == BackupKind::Differential { 0x0A00u32 } else { 0x0200 };
    set(8, &(flags | u32::from(c.bulk_logged)).to_le_bytes());
    set(0x0C, &[1, 0, 0, 0, 1]);
    set(0x18, &[0xD9, 0x13, 0x00, 0x0D, 9]);
    set(0x20, &c.first_lsn.to_le_bytes());
    set(0x2A, &c.last_lsn.to_le_bytes());
    set(0x34, &c.checkpoint_lsn.to_le_bytes());
    set(0x3E, &c.database_backup_lsn.to_le_bytes());
    set(0x48, &c.created.to_bytes());
    set(0x4D, &c.started.to_bytes());
    let kind = match c.kind {
        BackupKind::Full => b'D',
        BackupKind::Differential => b'I',
        BackupKind::Log => b'L',
    };
    set(0x57, &[kind, 0x34, 0x01, 0x00, c.compat_level, 0x05, 0x00]);
    set(0x5E, &c.version.to_le_bytes());
    set(0x60, &backed_up.to_le_bytes());
    set(0x68, &(database.len() as u16).to_le_bytes());
    set(0x6A, &(SCIN as u16).to_le_bytes());
    set(0x6C, &(server.len() as u16).to_le_bytes());
    set(0x6E, &((SCIN + database.len()) as u16).to_le_bytes());
    set(0x74, &0x0409u16.to_le_bytes());
    set(0x78, &[1, 0, 3, 0]);
    set(0x7C, &c.binding_id);
    set(0x90, &c.last_lsn.to_le_bytes());
    let (fork_lsn, parent_fork) = c.forked_from;
    set(0x9C, &c.fork_guid);
    set(0xAC, &fork_lsn.to_le_bytes());
    set(0xB8, &parent_fork);
    set(0xC8, &c.last_full_guid);
    set(0xD8, &[0x09, 0x04, 0xD0, 0x00, 0x34]);
    set(0xE0, &c.family_guid);
    set(0xF2, &[1, 0, 0, 0, 1, 0]);
    set(0xF8, &c.create_lsn.to_le_bytes());
    if let Some((lsn, guid)) = &c.base {
        set(0x8C, &0x1C0u32.to_le_bytes());
        set(0x104, &lsn.to_le_bytes());
        set(0x110, guid);
    }
    set(0x130, &fork_lsn.to_le_bytes());
    set(0x13C, &parent_fork);
    set(0x14C, &c.log_archive_lsn.to_le_bytes());
    set(0x158, &backed_up.to_le_bytes());
    set(0x174, &[1]);
    b.extend(database);
    b.extend(server);
    b.extend(file_group(c));
    for file in &c.files {
        b.extend(file_entry(c, file));
    }
    b
}

fn file_group(c: &BackupConfig) -> Vec<u8> {
    let name = utf16("PRIMARY");
    let mut b = vec![0u8; 0xE0];
    let mut set = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"SFGI");
    set(4, &((0xE0 + name.len()) as u16).to_le_bytes());
    set(8, &[0x10, 0, 0, 0, 1, 0, 0, 0]);
    set(0x10, &(name.len() as u16).to_le_bytes());
    set(0x12, &[0xE0, 0, 1]);
    set(0x28, &[4]);
    set(0x34, &c.first_lsn.to_le_bytes());
    set(0x40, &c.last_lsn.to_le_bytes());
    set(0x4C, &c.checkpoint_lsn.to_le_bytes());
    set(0x64, &c.create_lsn.to_le_bytes());
    set(0x70, &c.log_archive_lsn.to_le_bytes());
    set(0x80, &c.last_lsn.to_le_bytes());
    let (fork_lsn, parent_fork) = c.forked_from;
    set(0x8C, &c.fork_guid);
    set(0x9C, &fork_lsn.to_le_bytes());
    set(0xA8, &parent_fork);
    set(0xB8, &fork_lsn.to_le_bytes());
    set(0xC4, &parent_fork);
    b.extend(name);
    b
}

fn file_entry(c: &BackupConfig, f: &BackupFile) -> Vec<u8> {
    const FIXED: usize = 0x404;
    let (name, path) = (utf16(&f.name), utf16(&f.path));
    let mut b = vec![0u8; FIXED];
    let mut set = |at: usize, bytes: &[u8]| b[at..at + bytes.len()].copy_from_slice(bytes);
    set(0, b"SFIN");
    set(4, &((FIXED + name.len() + path.len()) as u16).to_le_bytes());
    set(8, &[if f.log { 0x0C } else { 0x84 }]);
    set(0x10, &0x2000u16.to_le_bytes());
    set(0x14, &f.file_id.to_le_bytes());
    set(0x18, &((f.backed_up / 8192) as u32).to_le_bytes());
    set(0x1C, &[if f.log { 2 } else { 1 }]);
    set(0x20, &0x200u32.to_le_bytes());
    set(0x24, &u16::from(!f.log).to_le_bytes());
    set(0x28, &f.size.to_le_bytes());
    set(0x30, &(name.len() as u16).to_le_bytes());
    set(0x32, &(FIXED as u16).to_le_bytes());
    set(0x34, &(path.len() as u16).to_le_bytes());
    set(0x36, &((FIXED + name.len()) as u16).to_le_bytes());
    set(0x54, &0x1FFF_FFFF_E000_0000u64.to_le_bytes());
    set(0x9E, &c.database_backup_lsn.to_le_bytes());
    set(0xAA, &c.last_full_guid);
    set(0xBA, &f.guid);
    set(0xCA, &c.first_lsn.to_le_bytes());
    set(0xDA, &c.last_lsn.to_le_bytes());
    set(0xEA, &c.checkpoint_lsn.to_le_bytes());
    b.extend(name);
    b.extend(path);
    b
}

pub(super) fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
