//! Rows out of pages in memory: what the full copy costs before any conversion. One core; `rows` of ten columns each.

use std::sync::Arc;

use divan::{Bencher, counter::BytesCount, counter::ItemsCount};
use logferry_mssql_backup::scan::RowReader;
use logferry_mssql_backup::{Error, FileExtent, PageSource};
use logferry_mssql_format::encode::{ColumnImage, FormatPage, PageImage, RowShape, encode_row};
use logferry_mssql_format::page::{PageBytes, PageId, PageType, verify};
use logferry_mssql_format::row::{PhysicalColumn, Place, RowLayout};

fn main() {
    divan::main();
}

const ROWS: u32 = 1_000_000;

struct Memory(Vec<PageBytes>);

impl PageSource for Memory {
    fn read_page(&self, id: PageId, into: &mut PageBytes) -> Result<(), Error> {
        into.copy_from_slice(&self.0[id.page as usize]);
        Ok(verify(into)?)
    }

    fn files(&self) -> Vec<FileExtent> {
        vec![FileExtent { file: 1, pages: self.0.len() as u32 }]
    }
}

/// int, bigint, datetime2(7), decimal(18,2), bit, money, uniqueidentifier, float, nvarchar(50), varchar(50)
fn shape() -> RowShape {
    let fixed = |offset, len| Place::Fixed { offset, len };
    let places = vec![
        fixed(4, 4),
        fixed(8, 8),
        fixed(16, 8),
        fixed(24, 9),
        Place::Bit { offset: 33, bit: 0 },
        fixed(34, 8),
        fixed(42, 16),
        fixed(58, 8),
        Place::Variable { index: 0 },
        Place::Variable { index: 1 },
    ];
    RowShape { places, fixed_end: 66 }
}

fn pages() -> Memory {
    let shape = shape();
    let mut pages = Vec::new();
    let format = |page| {
        PageImage::format(&FormatPage {
            id: PageId::new(1, page),
            page_type: PageType::DATA,
            type_flags: 0,
            level: 0,
            obj_id: 188,
            index_id: 256,
            prev: PageId::default(),
            next: PageId::default(),
            min_len: 66,
        })
    };
    let mut image = format(0);
    let mut row = Vec::new();
    for n in 0..ROWS {
        row.clear();
        let id = n.to_le_bytes();
        let name: Vec<u8> = format!("customer {n}").encode_utf16().flat_map(u16::to_le_bytes).collect();
        let values = [
            ColumnImage::Bytes(&id),
            ColumnImage::Bytes(&[7; 8]),
            if n % 3 == 0 { ColumnImage::Null } else { ColumnImage::Bytes(&[1; 8]) },
            ColumnImage::Bytes(&[1; 9]),
            ColumnImage::Bytes(&[1]),
            ColumnImage::Bytes(&[3; 8]),
            ColumnImage::Bytes(&[4; 16]),
            ColumnImage::Bytes(&[0; 8]),
            ColumnImage::Bytes(&name),
            ColumnImage::Bytes(b"some note of a usual length"),
        ];
        encode_row(&shape, &values, None, &mut row);
        if image.free() < row.len() + 2 {
            pages.push(image.sealed());
            image = format(pages.len() as u32);
        }
        image.insert(image.slot_count(), &row);
    }
    pages.push(image.sealed());
    Memory(pages)
}

#[divan::bench(sample_count = 10)]
fn rows_of_ten_columns(bencher: Bencher<'_, '_>) {
    let memory = pages();
    let columns = shape().places.into_iter().zip(0..);
    let columns = columns.map(|(place, null_bit)| PhysicalColumn { place, null_bit, missing: None }).collect();
    let layout = Arc::new(RowLayout::new(columns));
    bencher.counter(ItemsCount::new(ROWS)).counter(BytesCount::new(memory.0.len() * 8192)).bench_local(|| {
        let mut reader = RowReader::of_layout(&memory, layout.clone(), "bench".to_owned());
        let mut bytes = 0usize;
        for page in 0..memory.0.len() as u32 {
            reader
                .read_page(PageId::new(1, page), |cells| {
                    bytes += cells.iter().map(|cell| cell.bytes().map_or(0, <[u8]>::len)).sum::<usize>();
                    Ok::<_, Error>(())
                })
                .unwrap();
        }
        bytes
    });
}
