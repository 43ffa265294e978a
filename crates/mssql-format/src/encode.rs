//! Values to bytes: pages, rows, log records, log blocks, virtual log files, backup media.
//!
//! The counterpart of the readers, for the stand-in server and for generated test data. What is written here is
//! meant to be indistinguishable from a real server's files *for a reader*: shapes, codes, chains and checks are those
//! that real files of version 852 (SQL Server 2016) have; fields whose meaning is not known are written as they
//! were seen there. Callers hold the state (pages in memory, positions in the log): nothing here reads a clock or
//! does I/O.
//!
//! Unlike the readers, encoders trust their input: a row that does not fit on a page is a defect of the
//! caller, and is said so by a panic.

mod binxml;
mod block;
mod compressed;
mod container;
mod hierarchy;
mod lob;
mod maps;
mod mtf;
mod page;
mod record;
mod row;
mod scsu;
mod spatial;
mod vlf;
mod xpress;

pub use binxml::XmlWriter;
pub use block::{BLOCK_HEADER_SIZE, BlockBuilder};
pub use compressed::{compress_page, encode_cd_record, encode_compression_information, pack};
pub use container::compress_backup;
pub use hierarchy::hierarchy_of_path;
pub use lob::{
    LOB_CHUNK_MAX, LobLink, ROOT_LINKS_MAX, SMALL_ROOT_MAX, encode_in_row_root, encode_large_root, encode_lob_data,
    encode_lob_internal, encode_overflow_pointer, encode_small_root, encode_text_pointer,
};
pub use maps::{
    BootPage, FileHeader, GAM_EXTENTS, MAP_BITS_OFFSET, PFS_PAGES, bitmap_page, boot_page, file_header_page, iam_page,
    pfs_page,
};
pub use mtf::{BackupConfig, BackupFile, BackupKind, MediaWriter, MtfDate, VlfDescription};
pub use page::{FormatPage, PageImage};
pub use record::{
    BeginXact, ColumnChunk, CountDelta, EndXact, FormatRecord, PageTarget, RecordBuilder, RecordHead, RootChange,
};
pub use row::{ColumnImage, RowShape, encode_forwarded, encode_index_record, encode_row, encode_stub};
pub use scsu::compress_unicode;
pub use spatial::spatial_of_text;
pub use vlf::{VLF_HEADER_SIZE, VlfHeaderImage};
pub use xpress::xpress_compress;
