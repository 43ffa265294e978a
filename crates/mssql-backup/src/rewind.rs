//! Takes the pages of a base back to the begin of the log that comes with it, so that redo can show every change of it.
//!
//! Which pages are ahead of the log is seen at the first record that changes each. Their records are put aside, chained
//! backwards by page; what else is needed to take rows back is put aside with them: the changes that compensations undid
//! (chained by transaction), and the rows that splits moved to a new page. When the log was read once, page after page is
//! computed by [`redo::rewind`](logferry_mssql_format::redo::rewind).
//!
//! A page that cannot be taken back stays as it is. Redo then finds its changes there already; what a record itself does
//! not tell of a row is not known for these.

use logferry_model::{Lsn, TransactionId};
use logferry_mssql_format::log::op::Op;
use logferry_mssql_format::log::record::Record;
use logferry_mssql_format::page::{PAGE_SIZE, PageHeader, PageId};
use logferry_mssql_format::redo::rewind::{Revealed, Step, rewind};
use logferry_mssql_format::redo::target;
use rustc_hash::FxHashMap;

use crate::error::Error;
use crate::pages::PageSource;
use crate::spool::Spool;
use crate::store::PageStore;

/// Bytes of records that are kept in memory.
const SPOOL_MEMORY: usize = 64 << 20;
/// Page link, transaction link, extra link, LSN, length.
const ENTRY_HEAD: usize = 3 * 8 + 10 + 4;
const NONE: u64 = u64::MAX;

/// Gathers the records of a piece of the log.
pub(crate) struct Rewinder {
    spool: Spool,
    pages: FxHashMap<PageId, Ahead>,
    transactions: FxHashMap<TransactionId, Transaction>,
}

/// Whether a page is ahead of the log, and its last record.
enum Ahead {
    No,
    Yes { last: u64 },
}

/// What must be remembered of an open transaction.
struct Transaction {
    /// Its last change of a row that was not undone.
    last_change: u64,
    /// Pages that it formatted, and the last rows that it put on each.
    formatted: Vec<(PageId, u64)>,
}

/// What came out of it.
#[derive(Debug, Default)]
pub(crate) struct RewindReport {
    /// Pages that were ahead and were taken back.
    pub(crate) pages: usize,
    /// Rows on them whose bytes are not known.
    pub(crate) unknown_rows: usize,
    /// Rows that are known from some record on, in the order of the log.
    pub(crate) revealed: FxHashMap<PageId, Vec<Revealed>>,
    /// Pages that stayed as they are, and why.
    pub(crate) failed: FxHashMap<PageId, String>,
}

struct Entry {
    page_link: u64,
    extra: u64,
    lsn: Lsn,
    bytes: Vec<u8>,
}

impl Rewinder {
    pub(crate) fn new() -> Self {
        Rewinder { spool: Spool::new(SPOOL_MEMORY), pages: FxHashMap::default(), transactions: FxHashMap::default() }
    }

    /// Takes a record, in the order of the log.
    pub(crate) fn record(&mut self, base: &dyn PageSource, record: &Record<'_>) -> Result<(), Error> {
        if matches!(record.op, Op::COMMIT_XACT | Op::ABORT_XACT) {
            self.transactions.remove(&record.transaction);
            return Ok(());
        }
        let Some(op) = target(record)? else { return Ok(()) };
        let page = op.row.page;
        let in_transaction = !record.transaction.is_none();
        let is_change = in_transaction && matches!(record.op, Op::MODIFY_ROW | Op::MODIFY_COLUMNS);
        let ahead = match self.pages.get(&page) {
            Some(Ahead::No) => None,
            Some(Ahead::Yes { last }) => Some(*last),
            None => {
                let mut bytes = Box::new([0; PAGE_SIZE]);
                base.read_page(page, &mut bytes)?;
                let ahead = PageHeader::read(&*bytes)?.lsn >= record.lsn;
                self.pages.insert(page, if ahead { Ahead::Yes { last: NONE } } else { Ahead::No });
                ahead.then_some(NONE)
            }
        };
        let formatted = self.transactions.get(&record.transaction).and_then(|t| {
            (record.op == Op::INSERT_ROWS && in_transaction).then_some(())?;
            t.formatted.iter().position(|(id, _)| *id == page)
        });
        if record.op == Op::FORMAT_PAGE && in_transaction {
            self.transaction(record.transaction).formatted.push((page, NONE));
        }
        let is_first = is_change && !record.is_compensation();
        if ahead.is_none() && !is_first && formatted.is_none() {
            return Ok(());
        }

        let mut transaction_link = NONE;
        let mut extra = NONE;
        if is_first {
            transaction_link = self.transaction(record.transaction).last_change;
        } else if is_change {
            extra = self.undone(record)?;
        } else if let Some(index) = formatted {
            let transaction = self.transaction(record.transaction);
            extra = transaction.formatted.get(index).map_or(NONE, |(_, last)| *last);
        } else if record.op == Op::DELETE_SPLIT {
            let new = PageId::read(record.bytes(), 48, "new page of a split")?;
            let transaction = self.transaction(record.transaction);
            extra = transaction.formatted.iter().rfind(|(id, _)| *id == new).map_or(NONE, |(_, last)| *last);
        }
        let len = u32::try_from(record.bytes().len()).unwrap_or(u32::MAX);
        let position = self.spool.append(&[
            &ahead.unwrap_or(NONE).to_le_bytes(),
            &transaction_link.to_le_bytes(),
            &extra.to_le_bytes(),
            &record.lsn.to_le_bytes(),
            &len.to_le_bytes(),
            record.bytes(),
        ])?;
        if ahead.is_some() {
            self.pages.insert(page, Ahead::Yes { last: position });
        }
        if is_first {
            self.transaction(record.transaction).last_change = position;
        } else if let Some(index) = formatted
            && let Some((_, last)) = self.transaction(record.transaction).formatted.get_mut(index)
        {
            *last = position;
        }
        Ok(())
    }

    fn transaction(&mut self, id: TransactionId) -> &mut Transaction {
        self.transactions.entry(id).or_insert_with(|| Transaction { last_change: NONE, formatted: Vec::new() })
    }

    /// The change that a compensation undid: the last one of its transaction that names the same record as the one before.
    fn undone(&mut self, record: &Record<'_>) -> Result<u64, Error> {
        let mut at = self.transaction(record.transaction).last_change;
        while at != NONE {
            let mut head = [0; ENTRY_HEAD];
            self.spool.read(at, &mut head)?;
            let before = u64_of(&head, 8);
            let mut prev_lsn = [0; 10];
            self.spool.read(at + ENTRY_HEAD as u64 + 4, &mut prev_lsn)?;
            let prev_lsn = Lsn::from_le_bytes(prev_lsn);
            if prev_lsn == record.prev_lsn {
                // What came after it was undone before.
                self.transaction(record.transaction).last_change = before;
                return Ok(at);
            }
            if prev_lsn < record.prev_lsn {
                break;
            }
            at = before;
        }
        Ok(NONE)
    }

    fn entry(&self, position: u64) -> Result<Entry, Error> {
        let mut head = [0; ENTRY_HEAD];
        self.spool.read(position, &mut head)?;
        let mut lsn = [0; 10];
        lsn.copy_from_slice(&head[24..34]);
        let mut len = [0; 4];
        len.copy_from_slice(&head[34..38]);
        let mut bytes = vec![0; u32::from_le_bytes(len) as usize];
        self.spool.read(position + ENTRY_HEAD as u64, &mut bytes)?;
        Ok(Entry { page_link: u64_of(&head, 0), extra: u64_of(&head, 16), lsn: Lsn::from_le_bytes(lsn), bytes })
    }

    /// Entries from a position backwards, in the order of the log.
    fn chain(&self, last: u64, next: impl Fn(&Entry) -> u64) -> Result<Vec<Entry>, Error> {
        let mut entries = Vec::new();
        let mut at = last;
        while at != NONE {
            let entry = self.entry(at)?;
            // Links go backwards, so this ends.
            at = next(&entry);
            entries.push(entry);
        }
        entries.reverse();
        Ok(entries)
    }

    /// Puts all pages that are ahead into the store as they were before the first record.
    pub(crate) fn finish(self, store: &mut PageStore) -> Result<RewindReport, Error> {
        let mut report = RewindReport::default();
        let mut ahead: Vec<(PageId, u64)> = (self.pages.iter())
            .filter_map(|(id, page)| match page {
                Ahead::Yes { last } => Some((*id, *last)),
                Ahead::No => None,
            })
            .collect();
        ahead.sort_unstable();
        let mut base = Box::new([0; PAGE_SIZE]);
        for (id, last) in ahead {
            store.base().read_page(id, &mut base)?;
            let entries = self.chain(last, |e| e.page_link)?;
            let mut others = Vec::with_capacity(entries.len());
            for entry in &entries {
                let record = Record::read(entry.lsn, &entry.bytes)?;
                others.push(match record.op {
                    Op::DELETE_SPLIT => self.chain(entry.extra, |e| e.extra)?,
                    Op::MODIFY_ROW | Op::MODIFY_COLUMNS if entry.extra != NONE => vec![self.entry(entry.extra)?],
                    _ => Vec::new(),
                });
            }
            let mut steps = Vec::with_capacity(entries.len());
            for (entry, others) in entries.iter().zip(&others) {
                let others: Result<Vec<Record<'_>>, _> = others.iter().map(|e| Record::read(e.lsn, &e.bytes)).collect();
                let (record, others) = (Record::read(entry.lsn, &entry.bytes)?, others?);
                let is_split = record.op == Op::DELETE_SPLIT;
                steps.push(Step {
                    record,
                    undone: others.first().copied().filter(|_| !is_split),
                    moved: if is_split { others } else { Vec::new() },
                });
            }
            match rewind(&base, &steps) {
                Ok(rewound) => {
                    report.pages += 1;
                    report.unknown_rows += rewound.unknown_rows;
                    store.put(id, &rewound.page)?;
                    if !rewound.revealed.is_empty() {
                        report.revealed.insert(id, rewound.revealed);
                    }
                }
                Err(e) => {
                    tracing::warn!(page = %id, "page stays ahead of the log: {e}");
                    report.failed.insert(id, e.to_string());
                }
            }
        }
        Ok(report)
    }
}

fn u64_of(bytes: &[u8; ENTRY_HEAD], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(number)
}
