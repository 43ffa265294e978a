//! Where the files of real servers are. (The tests of the T-SQL over this engine look there by the same.)

use std::path::{Path, PathBuf};

/// The folder of real files: `$LOGFERRY_FIXTURES`, else `../shared/fixtures` beside the workspace; none: says so.
pub(crate) fn fixtures() -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures");
    let folder = std::env::var_os("LOGFERRY_FIXTURES").map_or_else(beside, PathBuf::from);
    if !folder.is_dir() {
        eprintln!("skipped: no real files in {}", folder.display());
        return None;
    }
    Some(folder)
}
