mod fixtures;
use logferry_model::*;
use logferry_mssql_backup::{Changes, ReplayOptions, data_file::DataFiles, log_file::LogFiles};
#[test]
fn dump() {
    let Ok(p) = std::env::var("PAIR") else { return };
    let root = fixtures::fixtures().unwrap();
    let (d, l) = p.split_once(',').unwrap();
    let mut c = Changes::of_files(
        DataFiles::open(&[root.join(d)]).unwrap(),
        LogFiles::open(&[root.join(l)]).unwrap(),
        ReplayOptions::default(),
    )
    .unwrap();
    for t in c.tables() {
        eprintln!("at begin: {} v{} id {}", t.name, t.version, t.id.0);
    }
    while let Some(b) = c.next(1 << 20, 10000).unwrap() {
        for e in &b.events {
            match e {
                SourceEvent::Begin(h) => eprintln!("begin {} {} {}", h.id, h.begin_lsn, h.name),
                SourceEvent::Commit(h) => eprintln!("commit {}", h.applied.0),
                SourceEvent::Change(c) => {
                    let (a, bb) = match c.op {
                        ChangeOp::Insert { after } => (None, Some(after)),
                        ChangeOp::Update { before, after } => (Some(before), Some(after)),
                        ChangeOp::Delete { before } => (Some(before), None),
                        _ => (None, None),
                    };
                    let s = |r: Option<RowRef>| {
                        r.map(|r| {
                            b.rows
                                .row(r)
                                .cells()
                                .map(|c| match c {
                                    Cell::Bytes(b) => format!("{:?}", String::from_utf8_lossy(&b[..b.len().min(24)])),
                                    o => format!("{o:?}"),
                                })
                                .collect::<Vec<_>>()
                                .join(",")
                        })
                    };
                    eprintln!(
                        "   {} {} id {} v{} {:?} -> {:?}",
                        c.lsn,
                        c.table.name,
                        c.table.id.0,
                        c.table.version,
                        s(a),
                        s(bb)
                    )
                }
                SourceEvent::Table(t) => eprintln!(
                    "TABLE {} id {} v{} cols {:?}",
                    t.name,
                    t.id.0,
                    t.version,
                    t.columns.iter().map(|c| &c.name).collect::<Vec<_>>()
                ),
                SourceEvent::Dropped(t) => eprintln!("DROPPED {} id {}", t.name, t.id.0),
                SourceEvent::Progress(p) => eprintln!("progress {}", p.applied.0),
            }
        }
    }
}
