//! The order of key values, as bytes that sort alike.

use logferry_model::SqlType;

/// Appends a form of a key value that sorts as bytes in the order of the type. Strings are compared without regard to
/// ASCII case and trailing spaces; otherwise by code, which is not what collations say, but a total order.
pub(crate) fn sort_key(sql_type: &SqlType, value: &[u8], out: &mut Vec<u8>) {
    let reversed = |bytes: &[u8], out: &mut Vec<u8>| out.extend(bytes.iter().rev());
    match sql_type {
        SqlType::Bit | SqlType::TinyInt => out.extend_from_slice(value),
        SqlType::SmallInt | SqlType::Int | SqlType::BigInt | SqlType::SmallMoney | SqlType::Money => {
            let at = out.len();
            reversed(value, out);
            out[at] ^= 0x80;
        }
        SqlType::Real | SqlType::Float => {
            let at = out.len();
            reversed(value, out);
            if out[at] & 0x80 != 0 {
                out[at..].iter_mut().for_each(|b| *b = !*b);
            } else {
                out[at] ^= 0x80;
            }
        }
        SqlType::Decimal { .. } => {
            let at = out.len();
            let positive = value[0] != 0;
            out.push(u8::from(positive));
            reversed(&value[1..], out);
            if !positive {
                out[at + 1..].iter_mut().for_each(|b| *b = !*b);
            }
        }
        SqlType::DateTime => {
            let at = out.len();
            reversed(&value[4..], out);
            out[at] ^= 0x80;
            reversed(&value[..4], out);
        }
        SqlType::SmallDateTime => {
            reversed(&value[2..], out);
            reversed(&value[..2], out);
        }
        SqlType::Date | SqlType::Time { .. } => reversed(value, out),
        SqlType::DateTime2 { .. } => {
            let (time, date) = value.split_at(value.len() - 3);
            reversed(date, out);
            reversed(time, out);
        }
        SqlType::DateTimeOffset { .. } => {
            let (time, rest) = value.split_at(value.len() - 5);
            reversed(&rest[..3], out);
            reversed(time, out);
        }
        SqlType::UniqueIdentifier => {
            // The last group counts first.
            out.extend_from_slice(&value[10..16]);
            out.extend_from_slice(&value[8..10]);
            reversed(&value[6..8], out);
            reversed(&value[4..6], out);
            reversed(&value[0..4], out);
        }
        SqlType::NChar { .. } | SqlType::NVarChar { .. } => {
            let units: Vec<u16> = value.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect();
            let len = units.iter().rposition(|u| *u != 0x20).map_or(0, |last| last + 1);
            for unit in &units[..len] {
                let lower = u8::try_from(*unit).map_or(*unit, |b| u16::from(b.to_ascii_lowercase()));
                out.extend(lower.saturating_add(1).to_be_bytes());
            }
            out.extend([0, 0]);
        }
        SqlType::Char { .. } | SqlType::VarChar { .. } => {
            let len = value.iter().rposition(|b| *b != b' ').map_or(0, |last| last + 1);
            terminated(value[..len].iter().map(u8::to_ascii_lowercase), out);
        }
        _ => terminated(value.iter().copied(), out),
    }
}

/// Bytes of any length, so that a shorter one that begins a longer one comes first.
fn terminated(bytes: impl Iterator<Item = u8>, out: &mut Vec<u8>) {
    for b in bytes {
        out.push(b);
        if b == 0 {
            out.push(0xFF);
        }
    }
    out.extend([0, 0]);
}

#[cfg(test)]
mod tests {
    use logferry_model::SqlType;

    use super::super::DEFAULT_COLLATION;
    use super::sort_key;

    #[track_caller]
    fn check(sql_type: SqlType, in_order: &[&[u8]]) {
        let keys: Vec<Vec<u8>> = in_order
            .iter()
            .map(|v| {
                let mut key = Vec::new();
                sort_key(&sql_type, v, &mut key);
                key
            })
            .collect();
        assert!(keys.windows(2).all(|w| w[0] < w[1]), "{sql_type:?}: {keys:?}");
    }

    #[test]
    fn keys_sort_as_their_values() {
        let ints: Vec<[u8; 4]> = [i32::MIN, -2, -1, 0, 1, 256, i32::MAX].iter().map(|n| n.to_le_bytes()).collect();
        check(SqlType::Int, &ints.iter().map(|b| &b[..]).collect::<Vec<_>>());
        let floats: Vec<[u8; 8]> = [-1e300, -1.5, 0.0, 1e-9, 2.0].iter().map(|n: &f64| n.to_le_bytes()).collect();
        check(SqlType::Float, &floats.iter().map(|b| &b[..]).collect::<Vec<_>>());
        check(
            SqlType::Decimal { precision: 9, scale: 2 },
            &[&[0, 9, 1, 0, 0], &[0, 8, 0, 0, 0], &[1, 0, 0, 0, 0], &[1, 1, 0, 0, 0], &[1, 0, 1, 0, 0]],
        );
        check(SqlType::VarBinary { length: Some(9) }, &[&[], &[0], &[0, 0], &[0, 1], &[1], &[1, 0]]);
        check(SqlType::VarChar { length: Some(9), collation: DEFAULT_COLLATION }, &[b"", b"A", b"aa", b"B", b"bA"]);
        let mut low = [0xFF; 16];
        low[10] = 0;
        let mut high = [0; 16];
        high[10] = 1;
        check(SqlType::UniqueIdentifier, &[&low, &high]);
    }
}
