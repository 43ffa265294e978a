use logferry_mssql_format::container::*;
use logferry_mssql_format::xpress;
#[test]
fn probe() {
    let f = std::fs::read("/work/shared/fixtures/backups/tsql2012-2016-compressed.bak").unwrap();
    let h = ContainerHeader::read(&f).unwrap();
    let mut at = FIRST_RECORD as usize;
    let mut n = 0;
    let mut stream = Vec::new();
    let mut list = String::new();
    while at < f.len() {
        if f[at..].starts_with(b"SFMB") {
            let l = u16::from_le_bytes([f[at + 8], f[at + 9]]) as usize;
            stream.extend_from_slice(&f[at..at + l]);
            at += l;
            continue;
        }
        let r = ContainerRecord::read(&f[at..], h).unwrap();
        let data = &f[at + r.data_at as usize..at + r.end() as usize];
        if let Content::Compressed(m) = r.content {
            let mut out = vec![0; m as usize];
            xpress::decompress(data, &mut out).unwrap_or_else(|e| panic!("{at:#x}: {e}"));
            list += &format!("{} {} {} {}\n", at, stream.len(), r.data_len, m);
            stream.extend_from_slice(&out);
            n += 1;
        }
        at += r.end() as usize;
    }
    println!("{h:?} {n} pieces, {} bytes", stream.len());
    std::fs::write("/tmp/stream.bin", &stream).unwrap();
    std::fs::write("/tmp/pieces.txt", list).unwrap();
}
