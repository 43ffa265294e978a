//! Single files of real servers, all versions: every table, every row, every value.

use std::collections::BTreeMap;

use logferry_config::Pattern;
use logferry_e2e::{Files, Target, fixtures};
use logferry_pipeline::Phase;
use logferry_transform::AliasTypes;

/// Copies files and compares all tables with the pages, and their counts with what the files are known to hold.
async fn check(entry: &str, files: impl FnOnce(&std::path::Path) -> Files) {
    let Some(folder) = fixtures() else { return };
    let files = files(&folder);
    let rows = files.rows().unwrap_or_else(|e| panic!("{entry}: {e}"));
    let known: serde_json::Value =
        serde_json::from_slice(&std::fs::read(folder.join("expected.json")).expect("it is there")).expect("JSON");
    if let Some(tables) = known[entry]["tables"].as_object() {
        let known: BTreeMap<String, u64> =
            tables.iter().map(|(name, rows)| (name.clone(), rows.as_u64().expect("a count"))).collect();
        assert_eq!(rows.counts(), known, "{entry}");
    }
    let total: u64 = rows.counts().values().sum();
    let mut target = Target::new();
    if let Some((first, _)) = rows.unreadable.first() {
        let failure = target.try_run(&files).await.expect_err("a table cannot be read");
        assert_eq!(failure.phase, Phase::Checking, "{entry}: told before anything is written");
        assert!(failure.fault.to_string().contains(&first.to_string()), "{}", failure.fault);
        target.task.tables.exclude = rows.unreadable.iter().map(|(t, _)| Pattern::new(t.to_string())).collect();
        target.task.name = "without".to_owned();
    }
    let summary = target.run(&files).await;
    assert_eq!(summary.progress.rows_copied, total, "{entry}");
    target.check(rows).await;
    // Nothing is new the second time.
    let again = target.run(&files).await;
    assert_eq!((again.copied, again.progress.changes), (false, 0), "{entry}");
}

/// A data file, alone and with its log.
async fn check_pair(data: &str, log: &str) {
    check(data, |f| Files::Data(vec![f.join(data)], Vec::new())).await;
    check(data, |f| Files::Data(vec![f.join(data)], vec![f.join(log)])).await;
}

async fn check_backup(name: &str) {
    check(name, |f| Files::Backups(vec![f.join(name)])).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn northwind_2005() {
    check_backup("backups/northwind-2005.bak").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quiz_2014() {
    check_backup("backups/quiz-2014.bak").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn students_2022() {
    check_backup("backups/students-2022.bak").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tsql2012_2016_compressed() {
    check_backup("backups/tsql2012-2016-compressed.bak").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pubs_2012_by_the_number_of_its_set() {
    let name = "backups/pubs-2012-six-sets.bak";
    check(name, |f| Files::Set(f.join(name), 1)).await;
    // In spite of its name the file has one.
    let Some(folder) = fixtures() else { return };
    let said = Files::Set(folder.join(name), 2).source().expect_err("there is no second set").to_string();
    assert!(said.contains("has no backup set 2"), "{said}");
}

/// Its keys are of `id`, `tid` and `empid`.
#[tokio::test(flavor = "multi_thread")]
async fn pubs_2012_with_its_alias_types_as_domains() {
    let Some(folder) = fixtures() else { return };
    let files = Files::Set(folder.join("backups/pubs-2012-six-sets.bak"), 1);
    let mut target = Target::new();
    target.task.transform.types.alias_types = AliasTypes::Domain;
    target.run(&files).await;
    target.check(files.rows().expect("it can be read")).await;
    let domains = "SELECT string_agg(format('%s %s %s', attrelid::regclass, attname, format_type(atttypid, atttypmod)), ', ' \
                   ORDER BY attrelid::regclass::text, attnum) FROM pg_attribute a JOIN pg_type t ON t.oid = atttypid \
                   JOIN pg_class c ON c.oid = attrelid WHERE typtype = 'd' AND relkind = 'r' AND attnum > 0 \
                   AND relnamespace = 'dbo'::regnamespace";
    let expect = "dbo.authors au_id dbo.id, dbo.bookstock title_id dbo.tid, dbo.employee emp_id dbo.empid, dbo.sales title_id dbo.tid, \
                  dbo.titleauthor au_id dbo.id, dbo.titleauthor title_id dbo.tid, dbo.titles title_id dbo.tid, \
                  dbo.roysched title_id dbo.tid";
    let sorted = |text: &str| {
        let mut all: Vec<String> = text.split(", ").map(str::to_owned).collect();
        all.sort();
        all
    };
    assert_eq!(sorted(&target.ask(domains).await), sorted(expect));
}

#[tokio::test(flavor = "multi_thread")]
async fn northwind_2008() {
    check_pair("pairs/northwind-2008/northwnd.mdf", "pairs/northwind-2008/northwnd.ldf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shelter_2016() {
    check_pair("pairs/shelter-2016/shelter.mdf", "pairs/shelter-2016/shelter_log.ldf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn flights_2016() {
    check_pair("pairs/flights-2016/flightdb.mdf", "pairs/flights-2016/flightdb_log.ldf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tax_2019() {
    check_pair("pairs/tax-2019/tax.mdf", "pairs/tax-2019/tax_log.ldf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn health_2019() {
    check_pair("pairs/health-2019/health.mdf", "pairs/health-2019/health_log.ldf").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn trivia_2008() {
    for moment in ["before", "after"] {
        let folder = format!("pairs/trivia-2008/{moment}");
        check_pair(&format!("{folder}/Database1.mdf"), &format!("{folder}/Database1_log.ldf")).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webtool_2008r2() {
    for moment in ["first", "second"] {
        let folder = format!("pairs/webtool-2008r2/{moment}");
        check_pair(&format!("{folder}/WebTool.mdf"), &format!("{folder}/WebTool_log.ldf")).await;
    }
}

/// A lone stripe is refused by name, and nothing is written.
#[tokio::test(flavor = "multi_thread")]
async fn lone_stripes() {
    let Some(folder) = fixtures() else { return };
    for name in ["northwind-2014-stripe-1-of-2.bak", "chinook-2025-stripe-1-of-2.bak"] {
        let target = Target::new();
        let files = Files::Backups(vec![folder.join("backups").join(name)]);
        let said = target.try_run(&files).await.expect_err("a stripe is missing").fault.to_string();
        assert!(said.contains(name) && said.contains("stripe 2 is missing"), "{said}");
        assert_eq!(target.ask("SELECT count(*)::text FROM pg_namespace WHERE nspname = 'logferry'").await, "0");
    }
}
