use logferry_mssql_format::encode::{BeginXact, EndXact, PageTarget, RecordBuilder, RecordHead};
use logferry_mssql_format::page::{PageId, PageType};

use super::*;

const TABLE: TableId = TableId(7);
const ROWSET: u64 = 1 << 56 | 7 << 16;
const UNIT: u64 = 256 << 48 | 7 << 16;

/// What `fn_dblog` cuts off.
const CUT: usize = 8000;

enum Step<'a> {
    /// Number of the transaction, of the one it is nested in, and its name; those with a parent are of the system.
    Begin(u32, u32, &'a str),
    Insert(u32, &'a [i32]),
    /// A page with its rows.
    Page(u32),
    /// A page without.
    EmptyPage(u32),
    Extent(u32, bool),
    Commit(u32),
}

fn row(id: i32) -> Vec<u8> {
    [&[0x10, 0, 8, 0][..], &id.to_le_bytes(), &[1, 0, 0]].concat()
}

/// Takes records; gives the committed transactions: name, keys, units loaded, whether extents are not logged.
fn run(steps: &[Step<'_>]) -> Vec<(String, Vec<i32>, Vec<u64>, bool)> {
    let places = Places::of_test(TABLE, ROWSET, UNIT);
    let mut transactions = Transactions::default();
    for (step, at) in steps.iter().zip(1..) {
        let lsn = Lsn::new(1, at, 1);
        let id = |low| TransactionId { low, high: 0 };
        let head = |low| RecordHead { prev_lsn: Lsn::ZERO, flags: 2, transaction: id(low) };
        let (page, prev_page_lsn) = (PageId::new(1, 100), Lsn::ZERO);
        let target = PageTarget { page, slot: 0, obj_id: 7, index_id: 256, prev_page_lsn };
        let mut builder = RecordBuilder::new();
        let bytes = match step {
            Step::Begin(own, parent, name) => builder.begin_xact(
                &head(*own),
                &BeginXact {
                    spid: 51,
                    status: 0,
                    xact_type: if *parent == 0 { 1 } else { 3 },
                    time: [0; 8],
                    xact_id: 1,
                    oldest_active: id(0),
                    parent: id(*parent),
                    name,
                    sid: &[],
                },
            ),
            Step::Insert(own, ids) => {
                let rows: Vec<Vec<u8>> = ids.iter().map(|&id| row(id)).collect();
                let rows: Vec<&[u8]> = rows.iter().map(Vec::as_slice).collect();
                builder.insert_rows(&head(*own), Context::CLUSTERED, &target, ROWSET, 0, &rows, &[])
            }
            Step::Page(own) => {
                builder.format_image(&head(*own), Context::CLUSTERED, &target, PageType::DATA, (&[1; 7000], &[96, 0]))
            }
            Step::EmptyPage(own) => {
                builder.format_image(&head(*own), Context::CLUSTERED, &target, PageType::DATA, (&[], &[]))
            }
            Step::Extent(own, on) => builder.set_bits(&head(*own), Context::ML_MAP, &target, 40, *on, None),
            Step::Commit(own) => {
                builder.end_xact(&head(*own), Op::COMMIT_XACT, &EndXact { time: [0; 8], begin_lsn: lsn, xact_id: 1 })
            }
        };
        let there = bytes.get(..CUT).unwrap_or(bytes);
        transactions.record(&places, lsn, there, bytes.len()).expect("a record");
    }
    let told = transactions.committed.iter().map(|touched| {
        let keys = touched.keys.get(&TABLE).map(|set| set.here().iter().cloned().collect::<Vec<Key>>());
        let mut keys: Vec<i32> = keys
            .unwrap_or_default()
            .iter()
            .map(|key| i32::from_le_bytes(key[2..].try_into().expect("an int")))
            .collect();
        keys.sort_unstable();
        (touched.name.clone(), keys, touched.loaded.keys().copied().collect(), touched.unlogged.is_some())
    });
    told.collect()
}

#[track_caller]
fn check(steps: &[Step<'_>], expect: &[(&str, &[i32], &[u64], bool)]) {
    let found = run(steps);
    let found: Vec<_> =
        found.iter().map(|(name, keys, units, no)| (name.as_str(), &keys[..], &units[..], *no)).collect();
    assert_eq!(found, expect);
}

#[test]
fn all_rows_of_a_record_count() {
    use Step::*;
    check(&[Begin(1, 0, "INSERT"), Insert(1, &[5]), Insert(1, &[6]), Commit(1)], &[("INSERT", &[5, 6], &[], false)]);
    check(&[Begin(1, 0, "INSERT"), Insert(1, &[5, 6, 7]), Commit(1)], &[("INSERT", &[5, 6, 7], &[], false)]);
    // Of so many the last are cut off.
    let many: Vec<i32> = (0..600).collect();
    check(&[Begin(1, 0, "INSERT"), Insert(1, &many), Commit(1)], &[("INSERT", &[], &[UNIT], false)]);
}

#[test]
fn rows_that_only_move_do_not_count() {
    use Step::*;
    check(
        &[
            Begin(1, 0, "UPDATE"),
            Insert(1, &[5]),
            Begin(2, 1, "SplitPage"),
            Page(2),
            Insert(2, &[1, 2]),
            Commit(2),
            Commit(1),
        ],
        &[("UPDATE", &[5], &[], false)],
    );
}

#[test]
fn pages_that_come_with_their_rows_count() {
    use Step::*;
    check(&[Begin(1, 0, "BULK INSERT"), Page(1), Page(1), Commit(1)], &[("BULK INSERT", &[], &[UNIT], false)]);
    check(&[Begin(1, 0, "INSERT"), EmptyPage(1), Commit(1)], &[]);
}

#[test]
fn extents_without_a_log_belong_to_the_outermost_transaction() {
    use Step::*;
    let bulk: &[(&str, &[i32], &[u64], bool)] = &[("BULK INSERT", &[], &[], true)];
    check(&[Begin(1, 0, "BULK INSERT"), Extent(1, true), Commit(1)], bulk);
    check(
        &[
            Begin(1, 0, "BULK INSERT"),
            Begin(2, 1, "AllocExtent"),
            Begin(3, 2, "x"),
            Extent(3, true),
            Commit(3),
            Commit(2),
            Commit(1),
        ],
        bulk,
    );
    // A log backup takes the marks away.
    check(&[Begin(1, 0, "Backup"), Extent(1, false), Commit(1)], &[]);
}

/// Thousands of pieces of values, then one of them is changed, or one that was there before: memory holds few of them, and both are told apart.
#[test]
fn pieces_that_a_transaction_made_wait_in_a_file() {
    const PIECES: u32 = 20_000;
    let places = Places::of_test(TABLE, ROWSET, UNIT);
    for (changed, expect) in [(0, false), (PIECES / 2, false), (PIECES - 1, false), (PIECES, true)] {
        let mut transactions = Transactions::default();
        let id = TransactionId { low: 1, high: 0 };
        let head = RecordHead { prev_lsn: Lsn::ZERO, flags: 2, transaction: id };
        let mut builder = RecordBuilder::new();
        let target = |n| PageTarget {
            page: PageId::new(1, 100 + n),
            slot: (n % 3) as u16,
            obj_id: 7,
            index_id: 256,
            prev_page_lsn: Lsn::ZERO,
        };
        for n in 0..PIECES {
            let bytes = builder.insert_rows(&head, Context::TEXT_MIX, &target(n), ROWSET, 0, &[&[8, 0, 14, 0]], &[]);
            let taken = transactions.record(&places, Lsn::new(1, n + 1, 1), bytes, bytes.len());
            taken.unwrap_or_else(|e| panic!("piece {n}: {e}"));
            transactions.make_room(usize::MAX, 3_000).expect("a temporary file");
            assert!(transactions.open.values().all(|open| open.made.here() <= 3_000), "memory is bounded");
        }
        let change =
            builder.modify_row(&head, Context::TEXT_MIX, &target(changed), ROWSET, 0, 1, (&[1], &[2]), (&[], &[]));
        transactions.record(&places, Lsn::new(2, 1, 1), change, change.len()).expect("a change");
        let open = transactions.open.get(&id).expect("it is open");
        assert_eq!(open.touched.in_place.contains_key(&TABLE), expect, "piece {changed}");
    }
}
