//! A compressed table as a real server's catalog describes it: rows in that shape are read.
//!
//! The one such table among the real files, the history of a system-versioned one, has no rows. The rows here are encoded in the order
//! that its `sysrscols` gives its columns, and read by the layout that follows from it.

mod fixtures;

use fixtures::fixtures;
use logferry_mssql_backup::catalog::Compression;
use logferry_mssql_backup::scan::RowReader;
use logferry_mssql_backup::set::BackupSet;
use logferry_mssql_backup::{Catalog, Error, FileExtent, PageSource};
use logferry_mssql_format::encode::{FormatPage, PageImage, compress_page, encode_cd_record, pack};
use logferry_mssql_format::page::{PageBytes, PageId, PageType};
use logferry_mssql_format::render;
use logferry_mssql_format::row::Packing;
use logferry_mssql_format::row::compressed::PackedCell;

const PAGE: PageId = PageId::new(1, 99_999);

/// The pages of a backup, and one more.
struct WithPage<S>(S, PageBytes);

impl<S: PageSource> PageSource for WithPage<S> {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        if id == PAGE {
            into.copy_from_slice(&self.1);
            return Ok(());
        }
        self.0.read_page(id, into)
    }

    fn files(&self) -> Vec<FileExtent> {
        self.0.files()
    }
}

/// In the order of the rows: uniquifier, sysend, sysstart, empid, empname, department, salary, hiredate.
fn stored(id: i32, name: &str, department: &str, cents: u32, hired: Option<u32>) -> Vec<Option<Vec<u8>>> {
    let time = |seconds: u64, days: u32| {
        let mut bytes = (seconds).to_le_bytes()[..3].to_vec();
        bytes.extend(&days.to_le_bytes()[..3]);
        pack(Packing::Padded { len: 6, fill: 0 }, &bytes)
    };
    let salary = [&[1][..], &u64::from(cents).to_le_bytes()].concat();
    vec![
        Some(Vec::new()),
        Some(time(3_600, 736_000)),
        Some(time(0, 735_000u32.wrapping_add_signed(id))),
        Some(pack(Packing::Integer { len: 4 }, &id.to_le_bytes())),
        Some(name.as_bytes().to_vec()),
        Some(department.as_bytes().to_vec()),
        Some(pack(Packing::Decimal { len: 9, precision: 10, scale: 2 }, &salary)),
        hired.map(|days| days.to_le_bytes()[..3].to_vec()),
    ]
}

#[test]
fn rows_of_a_compressed_table_are_read_by_its_catalog() {
    let Some(root) = fixtures() else { return };
    let set = BackupSet::open(&[root.join("backups/tsql2012-2016-compressed.bak")], None).unwrap();
    let catalog = Catalog::read(&set.pages().unwrap()).unwrap();
    let index = catalog.find_table("dbo.EmployeesHistory").unwrap();
    let table = &catalog.tables[index];
    assert_eq!(table.unreadable, None);
    assert!(table.assumed.as_ref().is_some_and(|why| why.contains("PAGE")), "{table:?}");
    assert!(table.version.notes.iter().any(|note| note.contains("compressed as a whole stops the task")), "{table:?}");
    let rowset = catalog.rowsets_of(index).next().unwrap();
    assert_eq!(rowset.compression, Compression::Page);

    let rows: Vec<_> = (0..30)
        .map(|i| {
            stored(
                i - 3,
                &format!("Employee number {i}"),
                ["IT", "Sales"][i as usize % 2],
                100_000 * i as u32 + 5,
                (i % 4 != 0).then_some(730_000),
            )
        })
        .collect();
    let cells: Vec<Vec<PackedCell<'_>>> = (rows.iter())
        .map(|row| row.iter().map(|v| v.as_deref().map_or(PackedCell::Null, PackedCell::Bytes)).collect())
        .collect();
    let (information, against) = compress_page(&cells);
    let alone = cells.iter().map(|cells| {
        let mut record = Vec::new();
        encode_cd_record(cells, None, &mut record);
        record
    });
    for (information, records) in [(Some(&information), against), (None, alone.collect())] {
        let mut page = PageImage::format(&FormatPage {
            id: PAGE,
            page_type: PageType::DATA,
            type_flags: 0,
            level: 0,
            obj_id: 188,
            index_id: 256,
            prev: PageId::default(),
            next: PageId::default(),
            min_len: 5,
        });
        if let Some(information) = information {
            page.insert(0, information);
            page.bytes_mut()[2] = 0x80;
        }
        records.iter().for_each(|record| page.insert(page.slot_count(), record));
        if information.is_some() {
            page.remove(0);
        }
        let pages = WithPage(set.pages().unwrap(), page.sealed());
        let mut reader = RowReader::new(pages, &catalog, rowset).unwrap();
        let mut lines = Vec::new();
        reader
            .read_page(PAGE, |cells| {
                let mut line = String::new();
                render::row(&table.version, cells, &mut line);
                lines.push(line);
                Ok::<_, Error>(())
            })
            .unwrap();
        assert_eq!(lines.len(), 30);
        assert_eq!(
            lines[0],
            r#"{"empid":-3,"empname":"Employee number 0","department":"IT","salary":0.05,"sysstart":"2013-05-10T00:00:00","sysend":"2016-02-07T01:00:00","hiredate":null}"#
        );
        assert_eq!(
            lines[29],
            r#"{"empid":26,"empname":"Employee number 29","department":"Sales","salary":29000.05,"sysstart":"2013-06-08T00:00:00","sysend":"2016-02-07T01:00:00","hiredate":"1999-09-04"}"#
        );
    }
}
