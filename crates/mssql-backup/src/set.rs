//! Backup sets: what one `BACKUP` statement wrote, over one file or several stripes.

use std::fmt;

use logferry_model::Lsn;

/// A GUID as it stands in files: the first three groups little-endian.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Guid(pub [u8; 16]);

impl Guid {
    /// Whether all is zero, which stands for "none".
    pub fn is_none(self) -> bool {
        self == Guid::default()
    }
}

impl fmt::Display for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a0, a1, a2, a3, b0, b1, c0, c1, d @ ..] = self.0;
        let (a, b, c) =
            (u32::from_le_bytes([a0, a1, a2, a3]), u16::from_le_bytes([b0, b1]), u16::from_le_bytes([c0, c1]));
        write!(f, "{a:08X}-{b:04X}-{c:04X}-")?;
        for (i, byte) in d.iter().enumerate() {
            write!(f, "{}{byte:02X}", if i == 2 { "-" } else { "" })?;
        }
        Ok(())
    }
}

impl fmt::Debug for Guid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What a backup set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BackupKind {
    /// All pages, and the log that makes them consistent.
    Full,
    /// The pages changed since a full backup, and the log that makes them consistent.
    Differential,
    /// The log since the last log backup.
    Log,
}

/// What the server wrote about a backup set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetHeader {
    /// What it holds.
    pub kind: BackupKind,
    /// `WITH COPY_ONLY`: no base of differentials.
    pub copy_only: bool,
    /// The database.
    pub database: String,
    /// The server.
    pub server: String,
    /// Version of the database: 611 is SQL Server 2005, see [`version_name`].
    pub version: u16,
    /// First record in the log that the set holds (inclusive).
    pub first_lsn: Lsn,
    /// End of the log that the set holds (exclusive).
    pub last_lsn: Lsn,
    /// The checkpoint at its begin.
    pub checkpoint_lsn: Lsn,
    /// Checkpoint of the full backup that it is based on.
    pub database_backup_lsn: Lsn,
    /// Begin and end: microseconds since 2000-01-01 by the server's clock.
    pub start_us: i64,
    /// See `start_us`.
    pub finish_us: i64,
    /// This set.
    pub set_guid: Guid,
    /// The database, over all its recovery forks.
    pub database_guid: Guid,
    /// The recovery fork.
    pub fork_guid: Guid,
    /// Of a differential: the set that it is based on.
    pub base_guid: Guid,
}

/// The product that made databases of a version.
pub fn version_name(version: u16) -> &'static str {
    match version {
        0..=538 => "before SQL Server 2000",
        539..=610 => "SQL Server 2000",
        611..=654 => "SQL Server 2005",
        655..=660 => "SQL Server 2008",
        661..=705 => "SQL Server 2008 R2",
        706..=781 => "SQL Server 2012",
        782..=851 => "SQL Server 2014",
        852..=868 => "SQL Server 2016",
        869..=903 => "SQL Server 2017",
        904..=956 => "SQL Server 2019",
        957..=997 => "SQL Server 2022",
        998..=1023 => "SQL Server 2025",
        _ => "a later SQL Server",
    }
}
