//! How a database is made.

/// How a database is made.
#[derive(Clone, Debug)]
pub struct Options {
    /// Its name.
    pub name: String,
    /// The server's name.
    pub server: String,
    /// Decides all GUIDs and ids: equal seeds and equal calls make equal files.
    pub seed: u64,
    /// Bytes of a virtual log file, at least 128 KiB.
    pub vlf_bytes: u64,
    /// Virtual log files that the log begins with.
    pub vlfs: usize,
    /// Sequence number of the first of them.
    pub first_vlf: u32,
    /// `PAGE_VERIFY CHECKSUM`: log blocks have checksums too. (Pages always have.)
    pub checksum: bool,
    /// Rows carry version tags, as with `READ_COMMITTED_SNAPSHOT ON`.
    pub row_versions: bool,
    /// Ids of tables' rowsets and allocation units are made of the tables' ids, as in databases made on SQL Server 2000.
    pub ids_of_2000: bool,
    /// A rowset that a rebuild replaced goes when its transaction commits, not at once. Which of both a server does is not known.
    pub late_drops: bool,
    /// First day, counted from 1900-01-01.
    pub first_day: u32,
    /// Size of the data file at first, in pages.
    pub pages: u32,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            name: "standin".into(),
            server: "STANDIN".into(),
            seed: 1,
            vlf_bytes: 256 * 1024,
            vlfs: 4,
            first_vlf: 32,
            checksum: true,
            row_versions: false,
            ids_of_2000: false,
            late_drops: false,
            first_day: 45_292,
            pages: 1024,
        }
    }
}
