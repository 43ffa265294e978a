//! Opens data, log and backup files of SQL Server, on this machine or in object storage.
//!
//! **Invariants:** files are read where they are needed, never whole; what comes out of them was checked (page
//! checksums, log block checksums and parity, the order of LSNs); an error names file, offset or LSN.

pub mod arrivals;
mod assemble;
pub mod backups;
mod blob_rows;
mod bulk;
pub mod catalog;
pub mod chain;
pub mod changes;
mod compressed;
pub mod data_file;
pub mod dump;
mod emit;
pub mod error;
pub mod input;
pub mod inspect;
pub mod log_blocks;
pub mod log_dump;
pub mod log_file;
pub mod log_segment;
pub mod media;
mod origin;
pub mod page_index;
pub mod pages;
mod pending;
pub mod places;
mod replay;
mod rewind;
pub mod scan;
pub mod set;
mod set_log;
pub mod set_pages;
mod shapes;
pub mod source;
mod spool;
pub mod store;

pub use arrivals::{Listing, Watch};
pub use backups::Backups;
pub use catalog::Catalog;
pub use chain::Chain;
pub use changes::{Changes, ReplayOptions};
pub use data_file::DataFiles;
pub use error::{Error, Result};
pub use log_blocks::LogBlocks;
pub use log_file::LogFiles;
pub use pages::{FileExtent, PageSource};
pub use places::{AsPlace, Place};
pub use set::BackupSet;
pub use source::{BackupSource, SoundSets};
