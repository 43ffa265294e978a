//! The log of a backup set: its pieces, and how stripes share them.
//!
//! The log of a virtual log file is dealt out to stripes in units of 64 KiB, as each was ready to take one; nothing says
//! which unit a stripe got. But no log block is longer than 60 KiB, so every unit but the last has the begin of a
//! block in it, and a block knows its place.

use std::collections::BTreeMap;
use std::sync::Arc;

use logferry_mssql_format::bytes::Malformed;
use logferry_mssql_format::log::block::{BlockHeader, SECTOR};
use logferry_mssql_format::log::vlf::is_current;
use logferry_mssql_format::mtf::LogPiece;

use crate::error::Error;
use crate::input::InputFile;
use crate::log_segment::{LogSegment, SegmentPart};
use crate::media::Extent;
use crate::set::BackupSet;

/// The log of a set, by virtual log file.
pub(crate) fn segments(set: &BackupSet) -> Result<Vec<LogSegment>, Error> {
    // Every stripe describes all pieces, and holds some of the bytes.
    let mut pieces: BTreeMap<(u32, u64), (LogPiece, Held<'_>)> = BTreeMap::new();
    for (file, part) in set.parts() {
        for log in part.log.iter().filter(|log| !log.piece.is_empty()) {
            let entry = pieces.entry((log.piece.vlf, log.piece.start)).or_insert_with(|| (log.piece, Vec::new()));
            if !log.extents.is_empty() {
                entry.1.push((file, &log.extents));
            }
        }
    }
    // The end may be named as the begin of a virtual log file of which there is nothing yet.
    let last = pieces.keys().next_back().map(|key| key.0.max(set.header.last_lsn.vlf));
    let mut segments = Vec::new();
    for (piece, held) in pieces.into_values() {
        let parts = match held.as_slice() {
            [(file, extents)] => in_a_row(file, extents, piece.len()),
            stripes => dealt_out(&piece, stripes)?,
        };
        let there: u64 = parts.iter().map(|p| p.len).sum();
        if there < piece.len() {
            let what = format!("the log of virtual log file {:#x}, of which {there} bytes are there,", piece.vlf);
            return Err(Error::CutShort { path: set.path().to_owned(), what, needed: piece.len(), len: there });
        }
        segments.push(LogSegment {
            vlf: piece.vlf,
            parity: piece.parity,
            first_block: piece.block_at(0).ok_or_else(|| misplaced(set, &piece))?,
            len: piece.len(),
            ends_vlf: Some(piece.vlf) < last || piece.end == piece.vlf_start.saturating_add(piece.vlf_size),
            parts,
        });
    }
    Ok(segments)
}

/// Files that hold some of a piece, and where.
type Held<'a> = Vec<(&'a Arc<InputFile>, &'a Vec<Extent>)>;

fn in_a_row(file: &Arc<InputFile>, extents: &[Extent], len: u64) -> Vec<SegmentPart> {
    let parts = extents.iter().map(|e| SegmentPart { file: Arc::clone(file), offset: e.offset, start: 0, len: e.len });
    lined_up(parts, len)
}

/// Gives parts their places one behind the other, up to a length.
fn lined_up(parts: impl Iterator<Item = SegmentPart>, len: u64) -> Vec<SegmentPart> {
    let mut start = 0u64;
    parts
        .map(|part| {
            let part = SegmentPart { start, len: part.len.min(len - start), ..part };
            start += part.len;
            part
        })
        .filter(|part| part.len > 0)
        .collect()
}

/// Puts the units of a piece in their order.
fn dealt_out(piece: &LogPiece, stripes: &[(&Arc<InputFile>, &Vec<Extent>)]) -> Result<Vec<SegmentPart>, Error> {
    let unit = u64::from(piece.piece_bytes.max(SECTOR as u32));
    let count = piece.len().div_ceil(unit);
    let mut placed: BTreeMap<u64, SegmentPart> = BTreeMap::new();
    let mut unplaced = Vec::new();
    for (file, extents) in stripes {
        for extent in *extents {
            let mut at = 0;
            while at < extent.len {
                let len = unit.min(extent.len - at);
                let part = SegmentPart { file: Arc::clone(file), offset: extent.offset + at, start: 0, len };
                match unit_number(piece, unit, &part)? {
                    Some(number) => {
                        if let Some(other) = placed.insert(number, part) {
                            let what = format!("unit {number} of virtual log file {:#x} is there twice", piece.vlf);
                            return Err(other.file.damaged(other.offset, Malformed::new(what, 0)));
                        }
                    }
                    None => unplaced.push(part),
                }
                at += len;
            }
        }
    }
    // The last unit may hold nothing but the end of a block; filling units come after it.
    let missing: Vec<u64> = (0..count).filter(|number| !placed.contains_key(number)).collect();
    match (missing.as_slice(), unplaced.as_slice()) {
        ([], _) => {}
        ([number], [part]) => {
            placed.insert(*number, part.clone());
        }
        _ => return Ok(Vec::new()),
    }
    Ok(lined_up(placed.into_values(), piece.len()))
}

/// Which unit of a piece some bytes are, by the first log block that begins in them.
fn unit_number(piece: &LogPiece, unit: u64, part: &SegmentPart) -> Result<Option<u64>, Error> {
    let mut bytes = [0u8; 8 * SECTOR];
    let mut at = 0;
    while at < part.len {
        // Most blocks are short: the first one of a unit is near its begin.
        let len = bytes.len().min(usize::try_from(part.len - at).unwrap_or(bytes.len()));
        let piece_bytes = bytes.split_at_mut(len).0;
        part.file.read_exact(part.offset + at, piece_bytes, "the log")?;
        for sector in piece_bytes.chunks_exact(SECTOR) {
            let header = BlockHeader::read(sector).ok();
            if let Some(header) = header
                && let Some(position) = piece.position(header.first_lsn).filter(|p| p % unit == at)
                && piece.block_at(position).is_some_and(|b| is_current(&header, piece.vlf, piece.parity, b))
            {
                return Ok(Some(position / unit));
            }
            at += SECTOR as u64;
        }
        if len % SECTOR != 0 {
            break;
        }
    }
    Ok(None)
}

fn misplaced(set: &BackupSet, piece: &LogPiece) -> Error {
    let what = format!("virtual log file {:#x} has log from {:#x} on", piece.vlf, piece.start);
    Error::Unsupported { path: set.path().to_owned(), what }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use logferry_model::Lsn;
    use logferry_mssql_format::log::vlf::FIRST_BLOCK;

    use super::*;
    use crate::log_blocks::LogBlocks;
    use crate::log_segment::{LogEnd, SegmentBlocks};
    use crate::media::{LogPart, Media};

    /// A log backup of two virtual log files, four and two units long.
    fn log_parts() -> Option<(Media, Vec<LogPart>)> {
        let folder = match std::env::var_os("LOGFERRY_FIXTURES") {
            Some(folder) => folder.into(),
            None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
        };
        let path = folder.join("chains/instance-2008r2/db1/LOG/SQL2008_db1_LOG_20170518_041831.trn");
        if !path.exists() {
            eprintln!("SKIPPED: no {}; set LOGFERRY_FIXTURES", path.display());
            return None;
        }
        let media = Media::open(&path).expect("opens");
        let parts = media.sets[0].log.iter().filter(|log| !log.piece.is_empty()).cloned().collect();
        Some((media, parts))
    }

    fn blocks(segments: Vec<LogSegment>) -> u64 {
        let first = &segments[0];
        let start = logferry_model::Lsn::new(first.vlf, first.first_block, 1);
        let mut blocks = SegmentBlocks::new("db1".to_owned(), segments, start, LogEnd::Found);
        let mut count = 0;
        while blocks.next_block().expect("sound").is_some() {
            count += 1;
        }
        count
    }

    #[test]
    fn units_of_stripes_are_put_in_their_order() {
        let Some((media, parts)) = log_parts() else { return };
        let whole = BackupSet::join(std::slice::from_ref(&media), None).expect("joins");
        assert_eq!(blocks(whole.log_segments().expect("segments")), 171);
        for mask in 0u64..16 {
            let mut found = Vec::new();
            for log in &parts {
                let extent = log.extents[0];
                // Each unit goes to one of two stripes.
                let mut stripes = [Vec::new(), Vec::new()];
                for unit in 0..extent.len / 65_536 {
                    let offset = extent.offset + unit * 65_536;
                    stripes[(mask >> (unit % 4) & 1) as usize].push(Extent { offset, len: 65_536 });
                }
                let held: Vec<_> = stripes.iter().filter(|s| !s.is_empty()).map(|s| (&media.file, s)).collect();
                let placed = dealt_out(&log.piece, &held).expect("dealt out");
                let straight = in_a_row(&media.file, &log.extents, log.piece.len());
                let place = |parts: &[SegmentPart]| -> Vec<(u64, u64)> {
                    parts.iter().flat_map(|p| (0..p.len.div_ceil(512)).map(move |k| (p.offset + k * 512, 1))).collect()
                };
                assert_eq!(place(&placed), place(&straight), "mask {mask:#x}");
                found.push(placed.len());
            }
            assert_eq!(found, [4, 2]);
        }
    }

    #[test]
    fn a_log_may_end_where_the_next_virtual_log_file_will_begin() {
        let Some((media, _)) = log_parts() else { return };
        let whole = BackupSet::join(std::slice::from_ref(&media), None).expect("joins");
        let check = |end: fn(&LogSegment) -> Lsn| {
            let mut first = whole.log_segments().expect("segments");
            first.truncate(1);
            let (start, end) = (Lsn::new(first[0].vlf, first[0].first_block, 1), end(&first[0]));
            let mut blocks = SegmentBlocks::new("db1".to_owned(), first, start, LogEnd::At(end));
            let read = loop {
                match blocks.next_block() {
                    Ok(Some(_)) => {}
                    Ok(None) => break Ok(()),
                    Err(e) => break Err(e.to_string()),
                }
            };
            read.map(|()| assert_eq!(blocks.position(), end))
        };
        assert_eq!(check(|s| Lsn::new(s.vlf + 1, FIRST_BLOCK, 1)), Ok(()));
        // Of these there must be blocks.
        assert!(check(|s| Lsn::new(s.vlf + 1, FIRST_BLOCK + 1, 1)).expect_err("there is less").contains("hole"));
        assert!(check(|s| Lsn::new(s.vlf + 2, FIRST_BLOCK, 1)).expect_err("there is less").contains("hole"));
    }

    #[test]
    fn a_missing_unit_is_noticed() {
        let Some((media, parts)) = log_parts() else { return };
        let extent = parts[0].extents[0];
        let (one, two) = (
            vec![Extent { offset: extent.offset, len: 65_536 }],
            vec![Extent { offset: extent.offset + 3 * 65_536, len: 65_536 }],
        );
        let placed = dealt_out(&parts[0].piece, &[(&media.file, &one), (&media.file, &two)]).expect("dealt out");
        assert_eq!(placed.iter().map(|p| p.len).sum::<u64>(), 0);
    }
}
