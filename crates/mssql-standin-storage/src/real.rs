//! The engine's log beside real ones: what a real server's transactions did is done again here, and the records are compared, one
//! by one: operation, context, flags, length of the fixed part, lengths of the elements, the bits at 58, the system table.
//!
//! What cannot be the same is named in [`left_out`].

mod define;
pub(crate) mod files;
mod shape;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;

use logferry_model::{SqlType, TransactionId};
use logferry_mssql_format::log::op::{Context, Op};
use logferry_mssql_format::log::record::Record;
use logferry_mssql_format::log::xact::Xact;
use logferry_mssql_format::row::{FixedVar, Place, RecordKind};

use self::files::fixtures;
use self::shape::{left_out, shape};
use super::change::plain_row;
use super::{ColumnDef, Database, IndexDef, LogBlock, Options, Row, RowKey, TableDef, Transaction, XactOptions};

fn pairs() -> Option<PathBuf> {
    fixtures().map(|folder| folder.join("pairs"))
}

fn blocks(db: &Database) -> Vec<LogBlock> {
    db.log_blocks(db.start_of_log()).collect()
}

/// The records of a statement, those of nested transactions and of none in between with it.
fn family(records: &[Record<'_>], first: TransactionId, old: (bool, bool)) -> Vec<String> {
    let mut inside: BTreeSet<TransactionId> = BTreeSet::from([first]);
    let (mut out, mut xacts, mut open) = (Vec::new(), Vec::new(), false);
    for record in records {
        if record.op == Op::BEGIN_XACT {
            let parent = match Xact::read(record) {
                Ok(Some(Xact::Begin(begin))) => begin.parent,
                _ => TransactionId::default(),
            };
            let alone = record.u32_at(28, "status").is_ok_and(|status| status == 0x10_0001);
            // Whether a mixed extent is needed depends on how many pages of the last one are left.
            let mixed = record.element(0).starts_with(b"A\0l\0l\0o\0c\0M\0i\0x\0");
            if !mixed && (inside.contains(&parent) || open && alone) {
                inside.insert(record.transaction);
            }
        }
        if record.transaction == first {
            open = !matches!(record.op, Op::COMMIT_XACT | Op::ABORT_XACT);
        }
        let ours = inside.contains(&record.transaction);
        let between = open && record.transaction == TransactionId::default();
        if (ours || between) && left_out(record).is_none() {
            out.push(shape(record, &mut xacts, old));
        }
    }
    out
}

/// What a transaction does to rows of users.
#[derive(Clone)]
struct Work {
    name: String,
    steps: Vec<Step>,
    aborts: bool,
    /// Whether it does more, or something that was not understood.
    other: bool,
    /// Its records in the log, the first and the last.
    range: (usize, usize),
}

#[derive(Clone)]
enum Step {
    Insert(u32, Vec<u8>),
    Delete(u32, Vec<u8>),
    /// The row before and after.
    Update(u32, Vec<u8>, Vec<u8>),
}

impl Step {
    fn table(&self) -> u32 {
        match self {
            Step::Insert(table, _) | Step::Delete(table, _) | Step::Update(table, ..) => *table,
        }
    }
}

/// Rows of users as the log has made them so far, by page and slot: what changes are applied to.
#[derive(Default)]
struct Known {
    pages: HashMap<logferry_mssql_format::page::PageId, Box<logferry_mssql_format::page::PageBytes>>,
}

fn works(records: &[Record<'_>], tables: &BTreeMap<u64, u32>) -> Vec<Work> {
    use logferry_mssql_format::{page::PAGE_SIZE, redo};
    let mut known = Known::default();
    let mut open: BTreeMap<TransactionId, Work> = BTreeMap::new();
    let mut done = Vec::new();
    for (at, record) in records.iter().enumerate() {
        let id = record.transaction;
        match record.op {
            Op::BEGIN_XACT => {
                if let Ok(Some(Xact::Begin(begin))) = Xact::read(record)
                    && !begin.is_system()
                    && record.u32_at(28, "status").is_ok_and(|s| s == 1)
                {
                    let name = String::from_utf16_lossy(
                        &record
                            .element(0)
                            .chunks_exact(2)
                            .map(|c| u16::from_le_bytes([c[0], c[1]]))
                            .collect::<Vec<_>>(),
                    );
                    let work = Work { name, steps: Vec::new(), aborts: false, other: false, range: (at, at) };
                    open.insert(id, work);
                }
            }
            Op::COMMIT_XACT | Op::ABORT_XACT => {
                if let Some(mut work) = open.remove(&id) {
                    work.aborts = record.op == Op::ABORT_XACT;
                    work.range.1 = at;
                    done.push(work);
                }
            }
            _ => {}
        }
        let row = record.row_op().ok().flatten();
        let table = row.as_ref().and_then(|r| tables.get(&r.rowset).copied());
        let target = redo::target(record).ok().flatten();
        let old = target.as_ref().and_then(|t| {
            let page = known.pages.get(&t.row.page)?;
            redo::row_at(page, t.row.slot).ok().flatten().map(<[u8]>::to_vec)
        });
        if let Some(t) = &target {
            if record.op == Op::FORMAT_PAGE {
                known.pages.insert(t.row.page, Box::new([0; PAGE_SIZE]));
            }
            if let Some(page) = known.pages.get_mut(&t.row.page)
                && redo::apply(page, record).is_err()
            {
                known.pages.remove(&t.row.page);
            }
        }
        let Some(work) = open.get_mut(&id) else { continue };
        if record.is_compensation() || record.op.0 >= 0x80 {
            work.other |= matches!(record.op, Op::HOBT_DDL | Op::PREP_XACT);
            continue;
        }
        let leaf = matches!(record.context, Context::CLUSTERED | Context::HEAP | Context::MARK_AS_GHOST);
        let entry = record.context == Context::INDEX_LEAF || record.context == Context::MARK_AS_GHOST;
        match (record.op, table) {
            (Op::INSERT_ROWS, Some(table)) if leaf => work.steps.push(Step::Insert(table, record.element(0).to_vec())),
            (Op::DELETE_ROWS, Some(table)) if leaf => work.steps.push(Step::Delete(table, record.element(0).to_vec())),
            (Op::MODIFY_ROW | Op::MODIFY_COLUMNS, Some(table)) if leaf => {
                let new = target.as_ref().and_then(|t| {
                    redo::row_at(known.pages.get(&t.row.page)?, t.row.slot).ok().flatten().map(<[u8]>::to_vec)
                });
                match (old, new) {
                    (Some(old), Some(new)) => work.steps.push(Step::Update(table, old, new)),
                    _ => work.other = true,
                }
            }
            (_, None) if entry && row.is_some_and(|r| r.rowset >> 56 == 1) => {}
            _ => work.other = true,
        }
    }
    done
}

/// A row image as values, if it has the columns of the table and nothing outside of itself.
fn values(db: &Database, table: u32, image: &[u8]) -> Option<Row> {
    let layout = db.base_layout(table);
    let record = FixedVar::read(image).ok()?;
    let whole = usize::from(record.column_count()) <= layout.columns.len()
        && record.fixed_end() <= usize::from(layout.row.fixed_end)
        && RecordKind::of(image[0]) == RecordKind::Primary;
    let row = whole.then(|| plain_row(layout, image))?;
    for (at, value) in row.iter().enumerate() {
        let bit = layout.of_logical[at] as u16;
        if value.is_none() && bit < record.column_count() && !record.is_null(bit) {
            return None;
        }
    }
    Some(row)
}

/// A table whose rows are those of a real one, as they were when they had so many columns: columns that were dropped since, and stand in
/// the rows still, are bytes.
fn physical(real: &Database, table: u32, columns: usize) -> Option<(TableDef, BTreeMap<u32, u32>)> {
    let held = real.tables.get(&table)?;
    let layout = &real.rowset(held.rowset).layout;
    let (mut defs, mut ids) = (Vec::new(), BTreeMap::new());
    for (at, c) in layout.columns.iter().take(columns).enumerate() {
        let sql_type = match (&c.sql_type, c.place) {
            (SqlType::Unknown { .. }, Place::Fixed { len, .. }) => SqlType::Binary { length: len },
            (SqlType::Unknown { .. }, Place::Bit { .. }) => SqlType::Bit,
            (SqlType::Unknown { .. }, _) => SqlType::VarBinary { length: Some(8000) },
            (known, _) => known.clone(),
        };
        defs.push(ColumnDef { nullable: c.nullable, ..ColumnDef::new(format!("c{at}"), sql_type) });
        ids.insert(c.id, at as u32 + 1);
    }
    let primary_key = layout.key.clone();
    Some((TableDef { schema: "dbo".into(), name: format!("t{table}"), columns: defs, primary_key }, ids))
}

/// Makes the rows that a transaction finds what they were: transactions that were not done again may have changed them.
fn align(db: &mut Database, work: &Work, ids: &BTreeMap<u32, u32>) {
    let mut seen = BTreeSet::new();
    for step in &work.steps {
        let (Step::Delete(table, old) | Step::Update(table, old, _)) = step else { continue };
        let Some(own) = ids.get(table).copied() else { continue };
        let Some(row) = values(db, own, old) else { continue };
        let Some(key) = db.key_of(own, &row) else { continue };
        if !seen.insert((own, key.clone())) {
            continue;
        }
        let xact = db.begin(XactOptions::default());
        match db.committed_row(own, &key) {
            None => drop(db.insert(xact, own, row)),
            Some(known) if *known != row => {
                let all: Vec<(usize, Option<Vec<u8>>)> = row.into_iter().enumerate().collect();
                drop(db.update(xact, own, &key, &all));
            }
            Some(_) => {}
        }
        db.commit(xact).expect("it is open");
    }
}

/// Gives tables the columns that the rows of a transaction have by now.
fn grow(db: &mut Database, real: &Database, work: &Work, ids: &BTreeMap<u32, u32>) {
    for step in &work.steps {
        let (Step::Insert(table, image) | Step::Delete(table, image) | Step::Update(table, _, image)) = step;
        let (Some(own), Ok(record)) = (ids.get(table), FixedVar::read(image)) else { continue };
        let count = usize::from(record.column_count());
        let Some((def, _)) = physical(real, *table, count) else { continue };
        for column in def.columns.into_iter().skip(db.base_layout(*own).columns.len()) {
            db.add_column(*own, ColumnDef { nullable: true, ..column }).expect("a column more");
        }
    }
}

/// Does a transaction's work; `false` where it cannot be done.
fn perform(db: &mut Database, work: &Work, ids: &BTreeMap<u32, u32>) -> Option<TransactionId> {
    let xact = db.begin(XactOptions { name: &work.name, spid: 52 });
    for step in &work.steps {
        if one(db, xact, step, ids).is_none() {
            db.rollback(xact).expect("it is open");
            return None;
        }
    }
    match work.aborts {
        true => db.rollback(xact).expect("it is open"),
        false => drop(db.commit(xact).expect("it is open")),
    }
    Some(super::transaction_id(xact.0))
}

fn one(db: &mut Database, xact: Transaction, step: &Step, ids: &BTreeMap<u32, u32>) -> Option<()> {
    let key_of = |db: &Database, table: u32, row: &Row| match db.key_of(table, row) {
        Some(key) => Some(key),
        None => db.rows(table).find(|(_, r)| ***r == *row).map(|(k, _)| k.clone()),
    };
    match step {
        Step::Insert(table, image) => {
            let table = *ids.get(table)?;
            let row = values(db, table, image)?;
            db.insert(xact, table, row).ok()?;
        }
        Step::Delete(table, image) => {
            let table = *ids.get(table)?;
            let row = values(db, table, image)?;
            let key: RowKey = key_of(db, table, &row)?;
            db.delete(xact, table, &key).ok()?;
        }
        Step::Update(table, old, new) => {
            let table = *ids.get(table)?;
            let (old, new) = (values(db, table, old)?, values(db, table, new)?);
            let key: RowKey = key_of(db, table, &old)?;
            let changes: Vec<(usize, Option<Vec<u8>>)> =
                (0..new.len()).filter(|at| old[*at] != new[*at]).map(|at| (at, new[at].clone())).collect();
            db.update(xact, table, &key, &changes).ok()?;
        }
    }
    Some(())
}

/// Compares the transactions of a real log that change rows of users: how many are the same, and how many could not be done again, as
/// rows of theirs are older than the log or their table has other columns by now.
#[track_caller]
fn check(pair: (&str, &str), options: Options, old: bool, expect: (usize, usize)) {
    let Some(folder) = pairs() else { return };
    let real = Database::attach(&folder.join(pair.0), &folder.join(pair.1), Options::default()).expect("the pair");
    let held = blocks(&real);
    let records: Vec<Record<'_>> =
        held.iter().flat_map(|b| b.block().records().map(|r| r.expect("a record")).collect::<Vec<_>>()).collect();
    let tables: BTreeMap<u64, u32> = real.tables.iter().map(|(id, t)| (t.rowset, *id)).collect();
    let how = (old, options.row_versions);
    let mut db = Database::create(options).expect("a database");
    let mut ids = BTreeMap::new();
    let works = works(&records, &tables);
    for id in real.tables.keys() {
        // The first row that the log has of it.
        let first = works.iter().find_map(|work| {
            let count = work.steps.iter().find_map(|step| match step {
                Step::Insert(table, image) if table == id => Some(FixedVar::read(image).ok()?.column_count()),
                _ => None,
            })?;
            let (from, to) = work.range;
            let entries = records[from..=to].iter().any(|r| r.context == Context::INDEX_LEAF);
            Some((count, entries))
        });
        let Some((count, has_indexes)) = first else { continue };
        let Some((def, columns)) = physical(&real, *id, count.into()) else { continue };
        let Ok(own) = db.create_table(def) else { continue };
        let map = |id: &u32| columns.get(id).copied();
        let indexes = real.indexes.get(id).into_iter().flatten().filter_map(|i| {
            let columns = i.def.columns.iter().map(|(c, d)| Some((map(c)?, *d))).collect::<Option<_>>()?;
            Some(IndexDef { columns, included: i.def.included.iter().filter_map(map).collect(), ..i.def.clone() })
        });
        // Some indexes were made after the rows.
        let indexes: Vec<IndexDef> = indexes.filter(|_| has_indexes).collect();
        db.set_indexes(own, &indexes).expect("indexes");
        for index in db.indexes.get_mut(&own).into_iter().flatten() {
            // See `entry`: it came with 2012.
            index.kept.iter_mut().for_each(|k| k.null_bits = !old);
        }
        ids.insert(*id, own);
    }
    let (mut same, mut skipped, mut other) = (0, 0, String::new());
    for work in works {
        if work.steps.is_empty() {
            continue;
        }
        db.ghost_cleanup();
        if !work.other {
            grow(&mut db, &real, &work, &ids);
            align(&mut db, &work, &ids);
        }
        let theirs = family(&records[work.range.0..=work.range.1], records[work.range.0].transaction, how);
        if !work.other && !theirs.iter().any(|line| line.contains("CREATE_ALLOCCHAIN")) {
            // The table had pages before the log begins.
            let first = Work { aborts: true, ..work.clone() };
            let is_empty = |table: &u32| db.rowset(db.tables[table].rowset).levels.is_empty();
            let empty = |step: &Step| ids.get(&step.table()).is_some_and(is_empty);
            if work.steps.iter().any(empty) {
                perform(&mut db, &first, &ids);
                db.ghost_cleanup();
            }
        }
        let begin = db.end_of_log();
        let done = if work.other { None } else { perform(&mut db, &work, &ids) };
        let Some(own) = done else {
            skipped += 1;
            continue;
        };
        let held: Vec<LogBlock> = db.log_blocks(begin).collect();
        let ours: Vec<Record<'_>> =
            held.iter().flat_map(|b| b.block().records().map(|r| r.expect("a record")).collect::<Vec<_>>()).collect();
        let ours = family(&ours, own, how);
        if old && ours.iter().chain(&theirs).any(|line| line.contains("FORMAT_PAGE")) {
            // 2008 takes pages in another way than 2016 does.
            skipped += 1;
            continue;
        }
        if ours == theirs {
            same += 1;
        } else {
            other += &format!("{} of {}:\n", records[work.range.0].lsn, work.name);
            for n in 0..ours.len().max(theirs.len()) {
                let line = |of: &[String]| of.get(n).cloned().unwrap_or_default();
                let mark = if ours.get(n) == theirs.get(n) { " " } else { "!" };
                other += &format!("{mark} {:<90} | {}\n", line(&theirs), line(&ours));
            }
        }
    }
    assert!(
        other.is_empty(),
        "{}: {same} are the same, {skipped} were not done; a server's | this engine's:\n{other}",
        pair.1
    );
    assert_eq!((same, skipped), expect);
}

#[test]
fn rows_of_servers_of_2008() {
    let old = || Options::default();
    check(("trivia-2008/after/Database1.mdf", "trivia-2008/after/Database1_log.ldf"), old(), true, (74, 0));
    check(("northwind-2008/northwnd.mdf", "northwind-2008/northwnd.ldf"), old(), true, (310, 7));
}

#[test]
fn rows_of_servers_of_2016() {
    let versions = Options { row_versions: true, ..Options::default() };
    check(("shelter-2016/shelter.mdf", "shelter-2016/shelter_log.ldf"), versions, false, (28, 4));
    check(("flights-2016/flightdb.mdf", "flights-2016/flightdb_log.ldf"), Options::default(), false, (16, 1));
}

#[test]
fn rows_of_servers_of_2019() {
    let versions = Options { row_versions: true, ..Options::default() };
    check(("health-2019/health.mdf", "health-2019/health_log.ldf"), Options::default(), false, (22, 4));
    check(("tax-2019/tax.mdf", "tax-2019/tax_log.ldf"), versions, false, (4, 0));
}
