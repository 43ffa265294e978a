//! A data file whose pages were changed at random is read or refused: never a panic, a loop or a gigabyte.
//!
//! Checksums would stop most of these changes, so the pages are handed on unverified here.

use std::path::Path;

use logferry_mssql_backup::{Catalog, DataFiles, Error, FileExtent, PageSource, dump};
use logferry_mssql_format::page::{PAGE_SIZE, PageBytes, PageId};

/// Pages of a file in memory, as they are.
struct Unverified(Vec<u8>);

impl PageSource for Unverified {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        match self.0.as_chunks::<PAGE_SIZE>().0.get(id.page as usize) {
            Some(page) if id.file == 1 => into.copy_from_slice(page),
            _ => into.fill(0),
        }
        Ok(())
    }

    fn files(&self) -> Vec<FileExtent> {
        vec![FileExtent { file: 1, pages: (self.0.len() / PAGE_SIZE) as u32 }]
    }
}

/// xorshift64*
struct Random(u64);

impl Random {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % n
    }
}

/// How much came out: tables, rows, errors.
fn read_all(pages: &Unverified) -> (usize, u64, u32) {
    let Ok(catalog) = Catalog::read(pages) else { return (0, 0, 1) };
    let (mut rows, mut errors) = (0, 0);
    for table in 0..catalog.tables.len() {
        match dump::rows(pages, &catalog, table, |_| Ok::<_, Error>(())) {
            Ok(count) => rows += count.read,
            Err(_) => errors += 1,
        }
    }
    for page in 0..pages.0.len() / PAGE_SIZE {
        errors += u32::from(dump::page(pages, PageId::new(1, page as u32)).is_err());
    }
    (catalog.tables.len(), rows, errors)
}

#[test]
fn damaged_pages_are_read_or_refused() {
    let folder = match std::env::var_os("LOGFERRY_FIXTURES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
    };
    let Ok(original) = std::fs::read(folder.join("pairs/northwind-2008/northwnd.mdf")) else {
        eprintln!("SKIPPED: no real files at {}; set LOGFERRY_FIXTURES", folder.display());
        return;
    };
    assert_eq!(read_all(&Unverified(original.clone())), (13, 3308, 0));
    let mut refused = 0;
    for seed in 1..=60u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut pages = Unverified(original.clone());
        // A few changes leave the catalog readable, many reach the rows.
        let changes = [3, 300, 30_000][random.below(3)];
        for _ in 0..changes {
            let page = random.below(pages.0.len() / PAGE_SIZE);
            // Headers, first records and slot arrays more often than the rest.
            let at = match random.below(4) {
                0 => random.below(96),
                1 => 96 + random.below(200),
                2 => PAGE_SIZE - 1 - random.below(64),
                _ => random.below(PAGE_SIZE),
            };
            pages.0[page * PAGE_SIZE + at] = random.below(256) as u8;
        }
        eprintln!("seed {seed}, {changes} changes");
        refused += u32::from(read_all(&pages) != (13, 3308, 0));
    }
    assert!(refused > 20, "only {refused} of 60 were noticed");
}

/// As transparent data encryption is said to leave pages: their headers and the boot page can be read, all else cannot.
#[test]
fn a_database_that_looks_encrypted_is_told_so() {
    let folder = match std::env::var_os("LOGFERRY_FIXTURES") {
        Some(folder) => folder.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/fixtures"),
    };
    let Ok(mut file) = std::fs::read(folder.join("pairs/northwind-2008/northwnd.mdf")) else {
        eprintln!("SKIPPED: no real files at {}; set LOGFERRY_FIXTURES", folder.display());
        return;
    };
    let mut random = Random(7);
    for (_, page) in file.as_chunks_mut::<PAGE_SIZE>().0.iter_mut().enumerate().filter(|(n, _)| !matches!(n, 0 | 9)) {
        page[96..].iter_mut().for_each(|byte| *byte ^= random.below(256) as u8);
    }
    let error = Catalog::read(&Unverified(file.clone())).expect_err("nothing can be read").to_string();
    assert!(error.contains("or the database is encrypted (TDE)"), "{error}");
    let path = std::env::temp_dir().join(format!("logferry-encrypted-{}.mdf", std::process::id()));
    std::fs::write(&path, &file).expect("it is written");
    let error =
        DataFiles::open(&[&path]).and_then(|data| Catalog::read(&data)).expect_err("checksums fail").to_string();
    let _gone = std::fs::remove_file(&path);
    assert!(error.contains("or the database is encrypted (TDE)"), "{error}");
}
