//! Values with a structure of their own, as PostgreSQL reads what is copied of them.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::SinkExt;
use logferry_model::{Cell, SourceColumn, SqlType, TableId, TableName, TableVersion};
use logferry_testkit::postgres::PrivatePostgres;
use logferry_transform::{COPY_HEADER, COPY_TRAILER, Settings, TablePlan};

/// `<ä x="1">&amp;<b/></ä>` in binary XML.
fn xml() -> Vec<u8> {
    let name = |name: &str| {
        let units: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
        [&[units.len() as u8 / 2][..], &units].concat()
    };
    let mut bytes = vec![0xDF, 0xFF, 1, 0xB0, 4];
    for part in ["ä", "x", "b"] {
        bytes.push(0xF0);
        bytes.extend(name(part));
    }
    bytes.extend([0xEF, 0, 0, 1, 0xEF, 0, 0, 2, 0xEF, 0, 0, 3, 0xF8, 1, 0xF6, 2, 0x11]);
    bytes.extend(name("1"));
    bytes.extend([0xF5, 0x11]);
    bytes.extend(name("&"));
    bytes.extend([0xF8, 3, 0xF7, 0xF7]);
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn structured_values_are_read_by_postgresql() {
    let columns = [
        ("x", SqlType::Xml),
        ("fragment", SqlType::Xml),
        ("h", SqlType::HierarchyId),
        ("g", SqlType::Geography),
        ("v", SqlType::Vector),
    ];
    let columns = (1..).zip(columns).map(|(id, (name, sql_type))| SourceColumn {
        id,
        name: name.to_owned(),
        sql_type,
        alias: None,
        nullable: true,
        identity: None,
        computed: false,
        missing: None,
        stored: None,
    });
    let table = Arc::new(TableVersion {
        id: TableId(1),
        version: 1,
        name: TableName::new("dbo", "t"),
        columns: columns.collect(),
        primary_key: None,
        unique_keys: Vec::new(),
        notes: Vec::new(),
    });
    let plan = TablePlan::compile(&table, &Settings::default()).expect("a plan");
    let point = [&4326i32.to_le_bytes()[..], &[1, 12], &47.651f64.to_le_bytes(), &(-122.349f64).to_le_bytes()].concat();
    let vector = [&[0xA9, 1, 2, 0, 0, 0, 0, 0][..], &1.5f32.to_le_bytes(), &(-2f32).to_le_bytes()].concat();
    // Text, then an element: no document, but what an xml column may hold.
    let fragment = [0xDF, 0xFF, 2, 0xB0, 4, 0x11, 1, b'a', 0, 0xF0, 1, b'b', 0, 0xEF, 0, 0, 1, 0xF8, 1, 0xF7];
    let mut copy = COPY_HEADER.to_vec();
    let xml = xml();
    let cells = [&xml[..], &fragment, &[0b0101_1001, 0b1111_1011, 0b0000_0101, 0b0100_0000], &point, &vector];
    plan.copy_row(&cells.map(Cell::Bytes), &mut copy).expect("a row");
    plan.copy_row(&[Cell::Null; 5], &mut copy).expect("a row");
    copy.extend_from_slice(COPY_TRAILER);

    let database = PrivatePostgres::shared().create_database().expect("a database");
    let client = database.client().await.expect("a connection");
    client.batch_execute("CREATE TABLE t (x xml, fragment xml, h text, g bytea, v real[])").await.expect("a table");
    let sink = client.copy_in::<_, Bytes>("COPY t FROM STDIN (FORMAT binary)").await.expect("a copy");
    let mut sink = std::pin::pin!(sink);
    sink.send(copy.into()).await.expect("sent");
    assert_eq!(sink.finish().await.expect("copied"), 2);
    let sql = "SELECT concat_ws(' | ', x, (xpath('/*/@x', x))[1], fragment, h, encode(g, 'hex'), v::text) FROM t WHERE h IS NOT NULL";
    let row = client.query_one(sql, &[]).await.expect("a row");
    assert_eq!(
        row.get::<_, String>(0),
        "<ä x=\"1\">&amp;<b/></ä> | 1 | a<b/> | /1/-2.18/ | 0101000020e61000007593180456965ec017d9cef753d34740 | {1.5,-2}"
    );
}
