//! `sql_variant`: the stored form, from what the server tells of a value.
//!
//! ```text
//! stored:   u8 base type   u8 version, 1   properties   value, in the storage form of its type
//! asked:    base type's name, precision, scale, greatest length, collation id, value as varbinary
//! ```
//!
//! In a `varbinary` a value of a base type has this form; the last four were never seen by us on a server, but are what is said
//! of them in public (`tests/assumptions.md`):
//!
//! | base type | as varbinary |
//! |---|---|
//! | integers, `bit`, `money`, `float`, `real` | most significant byte first |
//! | `datetime`, `smalldatetime` | days, then ticks or minutes, each most significant byte first |
//! | text, binaries, `uniqueidentifier`, `date` | as stored |
//! | `decimal`, `numeric` | precision, scale, 0, sign, magnitude least significant byte first |
//! | `time`, `datetime2`, `datetimeoffset` | scale, then as stored |

use tiberius::ColumnData;

use super::magnitude_len;

/// Columns of an answer that a value takes.
pub(super) const PARTS: usize = 6;

/// What is asked for a value.
pub(super) fn ask_for(name: &str) -> Vec<String> {
    let property = |of: &str, ty: &str| format!("CONVERT({ty}, SQL_VARIANT_PROPERTY({name}, '{of}'))");
    vec![
        property("BaseType", "nvarchar(128)"),
        property("Precision", "int"),
        property("Scale", "int"),
        property("MaxLength", "int"),
        format!("CONVERT(int, COLLATIONPROPERTY({}, 'CollationID'))", property("Collation", "nvarchar(128)")),
        format!("CONVERT(varbinary(8000), {name})"),
    ]
}

/// Appends the stored form; `Some(false)` for NULL, `None` where the value is not understood.
pub(super) fn stored(parts: &[ColumnData<'static>; PARTS], out: &mut Vec<u8>) -> Option<bool> {
    let [base, precision, scale, length, collation, value] = parts;
    let number = |cell: &ColumnData<'_>| match cell {
        ColumnData::I32(n) => *n,
        _ => None,
    };
    let byte = |cell| number(cell).and_then(|n| u8::try_from(n).ok());
    let base = match base {
        ColumnData::String(Some(name)) => name.to_ascii_lowercase(),
        ColumnData::String(None) => return Some(false),
        _ => return None,
    };
    let ColumnData::Binary(Some(value)) = value else { return None };
    let value: &[u8] = value;
    let head = |code: u8, out: &mut Vec<u8>| out.extend_from_slice(&[code, 1]);
    let reversed = |code: u8, len: usize, out: &mut Vec<u8>| {
        head(code, out);
        out.extend(value.iter().rev());
        (value.len() == len).then_some(true)
    };
    let verbatim = |code: u8, out: &mut Vec<u8>| {
        head(code, out);
        out.extend_from_slice(value);
        Some(true)
    };
    let sized = |code: u8, out: &mut Vec<u8>| {
        head(code, out);
        out.extend_from_slice(&u16::try_from(number(length)?).ok()?.to_le_bytes());
        Some(())
    };
    match base.as_str() {
        "tinyint" => reversed(48, 1, out),
        "smallint" => reversed(52, 2, out),
        "int" => reversed(56, 4, out),
        "bigint" => reversed(127, 8, out),
        "bit" => reversed(104, 1, out),
        "real" => reversed(59, 4, out),
        "float" => reversed(62, 8, out),
        "money" => reversed(60, 8, out),
        "smallmoney" => reversed(122, 4, out),
        // Both halves turned around, and the halves, too: ticks come first in a row.
        "datetime" => reversed(61, 8, out),
        "smalldatetime" => reversed(58, 4, out),
        "uniqueidentifier" => verbatim(36, out),
        "date" => verbatim(40, out),
        "time" | "datetime2" | "datetimeoffset" => {
            let code = match base.as_str() {
                "time" => 41,
                "datetime2" => 42,
                _ => 43,
            };
            let (told, rest) = value.split_first()?;
            if Some(*told) != byte(scale) {
                return None;
            }
            head(code, out);
            out.push(*told);
            out.extend_from_slice(rest);
            Some(true)
        }
        "decimal" | "numeric" => {
            let (precision, scale) = (byte(precision)?, byte(scale)?);
            let [_, _, _, sign, magnitude @ ..] = value else { return None };
            let len = magnitude_len(precision);
            if magnitude.len() > len {
                return None;
            }
            head(if base == "decimal" { 106 } else { 108 }, out);
            out.extend_from_slice(&[precision, scale, *sign]);
            out.extend_from_slice(magnitude);
            out.resize(out.len() + len - magnitude.len(), 0);
            Some(true)
        }
        "binary" | "varbinary" => {
            sized(if base == "binary" { 173 } else { 165 }, out)?;
            out.extend_from_slice(value);
            Some(true)
        }
        "char" | "varchar" | "nchar" | "nvarchar" => {
            let code = match base.as_str() {
                "char" => 175,
                "varchar" => 167,
                "nchar" => 239,
                _ => 231,
            };
            sized(code, out)?;
            out.extend_from_slice(&number(collation)?.to_le_bytes());
            out.extend_from_slice(value);
            Some(true)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(base: &str, numbers: [Option<i32>; 4], value: &[u8], expect: Option<&[u8]>) {
        let [precision, scale, length, collation] = numbers.map(ColumnData::I32);
        let base_type = ColumnData::String(Some(base.to_owned().into()));
        let value = ColumnData::Binary(Some(value.to_vec().into()));
        let mut out = Vec::new();
        let read = stored(&[base_type, precision, scale, length, collation, value], &mut out);
        assert_eq!((read == Some(true)).then_some(out.as_slice()), expect, "{base}");
    }

    #[test]
    fn base_types_take_their_stored_form() {
        let none = [None; 4];
        check("int", none, &[0, 0, 1, 2], Some(&[56, 1, 2, 1, 0, 0]));
        check("bit", none, &[1], Some(&[104, 1, 1]));
        check("money", none, &[0, 0, 0, 0, 0, 0, 0x27, 0x10], Some(&[60, 1, 0x10, 0x27, 0, 0, 0, 0, 0, 0]));
        // 1900-01-02 00:00:01: one day, 300 ticks.
        check("datetime", none, &[0, 0, 0, 1, 0, 0, 1, 44], Some(&[61, 1, 44, 1, 0, 0, 1, 0, 0, 0]));
        check("smalldatetime", none, &[0, 1, 0, 2], Some(&[58, 1, 2, 0, 1, 0]));
        let decimal = [Some(10), Some(2), Some(9), None];
        check("decimal", decimal, &[10, 2, 0, 1, 5, 0, 0, 0], Some(&[106, 1, 10, 2, 1, 5, 0, 0, 0, 0, 0, 0, 0]));
        check("time", [Some(8), Some(0), Some(3), None], &[0, 1, 2, 3], Some(&[41, 1, 0, 1, 2, 3]));
        let text = [Some(0), Some(0), Some(20), Some(0x3400_d008)];
        check("varchar", text, b"ab", Some(&[167, 1, 20, 0, 8, 0xd0, 0, 0x34, b'a', b'b']));
        check("varbinary", [None, None, Some(4), None], &[9], Some(&[165, 1, 4, 0, 9]));
    }

    #[test]
    fn what_is_not_understood_is_not_guessed() {
        let none = [None; 4];
        check("int", none, &[1], None);
        check("time", [Some(8), Some(1), None, None], &[0, 1, 2, 3], None);
        check("decimal", [Some(5), Some(0), None, None], &[5, 0, 0, 1, 1, 0, 0, 0, 1, 0, 0, 0], None);
        check("hierarchyid", none, &[1], None);
    }
}
