//! Operation and context codes, by the names that `fn_dblog` shows.

use std::fmt;

macro_rules! codes {
    ($(#[$doc:meta])* $name:ident, $prefix:literal, { $($code:literal $ident:ident),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        pub struct $name(pub u8);

        #[allow(missing_docs)]
        impl $name {
            $(pub const $ident: $name = $name($code);)*

            /// The name, where the code is known.
            pub fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(concat!($prefix, stringify!($ident))),)*
                    _ => None,
                }
            }

            /// The code of a name, with or without its prefix, in any case.
            pub fn named(name: &str) -> Option<Self> {
                let bare = |name: &str| name.to_ascii_uppercase().trim_start_matches($prefix).to_owned();
                (0..=u8::MAX).map(Self).find(|code| code.name().is_some_and(|known| bare(known) == bare(name)))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.pad(name),
                    None => f.pad(&format!(concat!($prefix, "{:#04x}"), self.0)),
                }
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    };
}

codes! {
    /// What a record does. Codes that are not known are kept.
    Op, "LOP_", {
        0x00 NULL, 0x01 FORMAT_PAGE, 0x02 INSERT_ROWS, 0x03 DELETE_ROWS, 0x04 MODIFY_ROW, 0x05 MODIFY_HEADER,
        0x06 MODIFY_COLUMNS, 0x07 SET_BITS, 0x08 SET_MASK_BITS, 0x09 DELTA_SYSIND, 0x0A SET_FREE_SPACE,
        0x0B DELETE_SPLIT, 0x0C UNDO_DELETE_SPLIT, 0x0D EXPUNGE_ROWS, 0x10 FILE_HDR_MODIFY, 0x11 CLEAR_GAM_BITS,
        0x12 COUNT_DELTA, 0x13 ROOT_CHANGE, 0x14 COMPRESSION_INFO, 0x15 ENCRYPT_PAGE, 0x16 INSYSXACT,
        0x7E REMOVE_VERSION_INFO,
        0x80 BEGIN_XACT, 0x81 COMMIT_XACT, 0x82 ABORT_XACT, 0x83 PREP_XACT, 0x84 MARK_SAVEPOINT, 0x85 FORGET_XACT,
        0x86 CREATE_FILE, 0x87 DROP_FILE, 0x88 MARK_DDL, 0x89 HOBT_DDL, 0x8A IDENT_NEWVAL, 0x8B IDENT_SENTVAL,
        0x8C HOBT_DELTA, 0x8D LOCK_XACT, 0x8E CREATE_STREAMFILE, 0x8F MIGRATE_LOCKS, 0x90 DROP_STREAMFILE,
        0x91 FS_DOWNLEVEL_OP, 0x92 MODIFY_STREAMFILE_HDR, 0x94 BP_DBVER, 0x95 COPY_VERSION_INFO, 0x96 BEGIN_CKPT,
        0x98 XACT_CKPT, 0x99 END_CKPT, 0x9A BUF_WRITE, 0x9B IDENTITY_TYPE,
        0xA0 BEGIN_RECOVERY, 0xA1 END_RECOVERY, 0xA2 TENANT_LOG, 0xA6 FEDTM_INFO, 0xAA SORT_BEGIN, 0xAB SORT_END,
        0xAC SORT_EXTENT, 0xAD CREATE_INDEX, 0xAE DROP_INDEX, 0xAF SORT_MEMORY,
        0xB0 CREATE_ALLOCCHAIN, 0xB4 CREATE_FTCAT, 0xB5 DROP_FTCAT,
        0xC8 REPL_COMMAND, 0xC9 BEGIN_UPDATE, 0xCA END_UPDATE, 0xCB TEXT_POINTER, 0xCC TEXT_INFO_BEGIN,
        0xCD TEXT_INFO_END, 0xCE REPL_NOOP, 0xCF TEXT_VALUE,
        0xD3 SHRINK_NOOP, 0xD4 FILESTREAM_INFO_BEGIN, 0xD5 FILESTREAM_INFO_END, 0xD6 BULK_EXT_ALLOCATION,
        0xD7 SECURITY_OP, 0xD8 PAGE_REENCRYPT, 0xD9 CREATE_PHYSICAL_FILE, 0xDC RANGE_INSERT,
        0xDD INVALIDATE_CACHE, 0xDF CSI_ROWGROUP, 0xE6 HK, 0xE7 HK_CHECKPOINT, 0xE8 HK_CHAINED, 0xF0 SEREPL_MSG,
    }
}

codes! {
    /// What a record does it to. Codes that are not known are kept.
    Context, "LCX_", {
        0x00 NULL, 0x01 HEAP, 0x02 CLUSTERED, 0x03 INDEX_LEAF, 0x04 INDEX_INTERIOR, 0x05 TEXT_MIX, 0x06 TEXT_TREE,
        0x07 DIAGNOSTICS, 0x08 GAM, 0x09 SGAM, 0x0A IAM, 0x0B PFS, 0x0C IDENTITY_VALUE, 0x0D OBJECT_ID,
        0x0E NONSYS_SPLIT, 0x11 FILE_HEADER, 0x12 SCHEMA_VERSION, 0x13 MARK_AS_GHOST, 0x14 BOOT_PAGE,
        0x15 SYSCONFIG_PAGE, 0x17 BOOT_PAGE_CKPT, 0x18 DIFF_MAP, 0x19 ML_MAP, 0x1A REMOVE_VERSION_INFO,
        0x1B DBCC_FORMATTED, 0x1C UNLINKED_REORG_PAGE, 0x1D BULK_OPERATION_PAGE, 0x1E TRACKED_XDES,
        0x1F ENCRYPT_UNALLOC_PAGE, 0x20 SORT_PAGE, 0x21 WORK_FILE_PAGE, 0x22 RESTORE_BAD_UNALLOC_PAGE,
    }
}
