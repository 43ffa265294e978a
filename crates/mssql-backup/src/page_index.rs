//! Where in a backup set a page is.
//!
//! A set holds whole extents of 8 pages, in ascending order of file and page, without a list of them: only the pages'
//! own headers say where they belong. So that 100 GB need neither a map of pages nor a read of them all, runs are found by
//! looking at few of them: extents ascend, so where the extent `k` places further on is `k` extents further in the
//! database, too, all between are in order. Reading a page checks its header against the place that was derived.
//!
//! Three surprises, all seen in real files: extents may hold pages that were never written or are not allocated, with zeroes
//! or garbage for a header; with `WITH CHECKSUM` the data is filled up to a MiB with what the buffer held before; and
//! stripes share the extents of a pass unevenly, as each was ready to take one. A set may pass several times over
//! a file: extents that changed during the backup come again, and the last pass wins.

use std::collections::HashMap;

use logferry_mssql_format::page::{EXTENT_PAGES, PAGE_SIZE, PageHeader, PageId};

use crate::error::Error;
use crate::input::InputFile;
use crate::media::Extent;

const EXTENT_BYTES: u64 = EXTENT_PAGES as u64 * PAGE_SIZE as u64;

/// Extents that stand in a row both in the database and in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// File of the database.
    pub file: u16,
    /// First extent: page number / 8.
    pub extent: u32,
    /// How many.
    pub extents: u32,
    /// The stripe that holds them, from 0.
    pub stripe: u16,
    /// Where the first stands in it.
    pub offset: u64,
}

/// The places of the pages of one pass.
#[derive(Clone, Debug, Default)]
pub struct PageIndex {
    /// By file and extent.
    runs: Vec<Run>,
}

impl PageIndex {
    /// Finds the runs of one pass; `parts` are its bytes in each stripe.
    pub fn build(parts: &[(&InputFile, &[Extent])]) -> Result<Self, Error> {
        let mut runs = Vec::new();
        for (stripe, (file, extents)) in parts.iter().enumerate() {
            let mut last = None;
            for extent in *extents {
                scan(file, stripe as u16, *extent, &mut last, &mut runs)?;
            }
        }
        runs.sort_by_key(|r| (r.file, r.extent));
        runs.dedup_by(|next, run| join(run, next));
        runs.shrink_to_fit();
        Ok(PageIndex { runs })
    }

    /// Stripe and offset of a page.
    pub fn find(&self, id: PageId) -> Option<(u16, u64)> {
        let extent = id.page / EXTENT_PAGES;
        let after = self.runs.partition_point(|r| (r.file, r.extent) <= (id.file, extent));
        let run = self.runs.get(after.checked_sub(1)?)?;
        let ahead = extent.checked_sub(run.extent)?;
        if run.file != id.file || ahead >= run.extents {
            return None;
        }
        let in_run = u64::from(ahead) * EXTENT_BYTES + u64::from(id.page % EXTENT_PAGES) * PAGE_SIZE as u64;
        Some((run.stripe, run.offset + in_run))
    }

    /// The runs, by file and extent.
    pub fn runs(&self) -> &[Run] {
        &self.runs
    }
}

/// Joins two runs that follow each other in the database and in the file.
fn join(run: &mut Run, next: &mut Run) -> bool {
    let follows = next.file == run.file
        && next.stripe == run.stripe
        && run.extent.checked_add(run.extents) == Some(next.extent)
        && run.offset + u64::from(run.extents) * EXTENT_BYTES == next.offset;
    if follows {
        run.extents = run.extents.saturating_add(next.extents);
    }
    follows
}

/// Finds the runs in a part of a file. `last` is the place of the extent before; what does not ascend is filling.
fn scan(
    file: &InputFile,
    stripe: u16,
    part: Extent,
    last: &mut Option<(u16, u32)>,
    runs: &mut Vec<Run>,
) -> Result<(), Error> {
    let count = part.len / EXTENT_BYTES;
    let mut at = 0u64;
    // Extents without a single page that tells its place, since the last one that did.
    let mut untold = 0u64;
    while at < count {
        let Some(place) = probe(file, part, at)? else {
            untold += 1;
            at += 1;
            continue;
        };
        if last.is_some_and(|last| place <= last) {
            return Ok(());
        }
        // Those between two told ones are in their places if their number fits.
        if let (Some(before), 1..) = (*last, untold)
            && before.0 == place.0
            && u64::from(place.1 - before.1) == untold + 1
            && at > untold
        {
            push(runs, stripe, (before.0, before.1 + 1), part.offset + (at - untold) * EXTENT_BYTES, untold);
        }
        untold = 0;
        let len = run_len(file, part, at, place, count)?;
        push(runs, stripe, place, part.offset + at * EXTENT_BYTES, len);
        *last = Some((place.0, place.1.saturating_add(len as u32 - 1)));
        at += len;
    }
    Ok(())
}

fn push(runs: &mut Vec<Run>, stripe: u16, place: (u16, u32), offset: u64, extents: u64) {
    runs.push(Run { file: place.0, extent: place.1, extents: extents as u32, stripe, offset });
}

/// How many extents from `at` on, which is at `place`, follow each other in the database.
fn run_len(file: &InputFile, part: Extent, at: u64, place: (u16, u32), count: u64) -> Result<u64, Error> {
    let follows = |ahead: u64| {
        let expect = u32::try_from(ahead).ok().and_then(|a| place.1.checked_add(a)).map(|e| (place.0, e));
        Ok::<bool, Error>(expect.is_some() && probe(file, part, at + ahead)? == expect)
    };
    // `good` extents ahead it still follows, `bad` ahead it does not.
    let (mut good, mut bad) = (0u64, 1u64);
    while at + bad < count && follows(bad)? {
        good = bad;
        bad = (bad * 2).min(count - at);
    }
    while bad - good > 1 {
        let middle = good + (bad - good) / 2;
        if at + middle < count && follows(middle)? {
            good = middle;
        } else {
            bad = middle;
        }
    }
    Ok(good + 1)
}

/// File and extent that the pages of an extent say they are; the most of them are believed.
fn probe(file: &InputFile, part: Extent, at: u64) -> Result<Option<(u16, u32)>, Error> {
    let mut votes: HashMap<(u16, u32), u32> = HashMap::new();
    for k in 0..EXTENT_PAGES {
        let mut header = [0u8; 96];
        let offset = part.offset + at * EXTENT_BYTES + u64::from(k) * PAGE_SIZE as u64;
        file.read_exact(offset, &mut header, "a page")?;
        let Ok(header) = PageHeader::read(&header) else { continue };
        let id = header.id;
        if header.is_formatted() && id.file != 0 && id.page % EXTENT_PAGES == k {
            let place = (id.file, id.page / EXTENT_PAGES);
            let count = votes.entry(place).or_default();
            *count += 1;
            // Two that agree are no accident; the first page alone is most often enough to find them.
            if *count == 2 {
                return Ok(Some(place));
            }
        }
    }
    // One vote against another decides nothing, one alone does.
    let mut votes = votes.into_keys();
    Ok(votes.next().filter(|_| votes.next().is_none()))
}
