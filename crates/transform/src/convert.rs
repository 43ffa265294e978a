//! Which PostgreSQL type a column gets, and the converter of its cells: chosen once, when the plan is compiled.

use logferry_model::{Collation, Comparison, PgType, SqlType, TargetColumn};

use crate::encode::code_page::Decoder;
use crate::encode::text::{Changed, TextRules, utf16};
use crate::encode::{clock, number, structured, variant, within_limit};
use crate::error::CellError;
use crate::settings::{
    CharPadding, CollationForm, HierarchyId, HundredNs, Offset, SpatialForm, Types, VariantForm, VectorForm, Xml,
};
use logferry_mssql_format::collation::{CodePage, code_page, insensitive_to};
use logferry_mssql_format::spatial::Spatial;

/// A column's type on the target, and how its cells get there.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) pg_type: PgType,
    pub(crate) converter: Converter,
    pub(crate) comparison: Option<Comparison>,
    /// Columns that have what the type does not hold.
    pub(crate) beside: Vec<Beside>,
    /// What the user should know, one sentence each.
    pub(crate) notes: Vec<String>,
}

impl Mapping {
    fn new(pg_type: PgType, converter: Converter) -> Mapping {
        Mapping { pg_type, converter, comparison: None, beside: Vec::new(), notes: Vec::new() }
    }

    fn noting(self, note: impl Into<String>) -> Mapping {
        Mapping { notes: vec![note.into()], ..self }
    }
}

/// A column beside another one, `smallint`, that is fed from the same column of the source.
#[derive(Clone, Debug)]
pub(crate) struct Beside {
    /// What its name ends in, behind that of the other one.
    pub(crate) suffix: &'static str,
    /// What tells its [`TargetColumn::source_id`] from that of the other one.
    pub(crate) id: u32,
    /// Whether two values of the column that differ in nothing else are two.
    pub(crate) tells_apart: bool,
    pub(crate) converter: Converter,
}

/// Writes cells of one column in PostgreSQL's binary form.
#[derive(Clone, Debug)]
pub(crate) enum Converter {
    Boolean,
    TinyInt,
    /// Little-endian to big-endian.
    Reverse2,
    Reverse4,
    Reverse8,
    Decimal {
        precision: u8,
        scale: u8,
    },
    SmallMoney,
    Money,
    Uuid,
    Date,
    Time {
        scale: u8,
        seventh: clock::Seventh,
    },
    TimeText {
        scale: u8,
    },
    DateTime,
    SmallDateTime,
    DateTime2 {
        scale: u8,
        seventh: clock::Seventh,
    },
    DateTime2Text {
        scale: u8,
    },
    DateTimeOffset {
        scale: u8,
        seventh: clock::Seventh,
    },
    DateTimeOffsetText {
        scale: u8,
    },
    /// The seventh digit of a time.
    Remainder,
    /// The zone of a `datetimeoffset`.
    Offset,
    Utf16(TextRules),
    Bytes(TextRules, Decoder),
    Variant(TextRules),
    VariantJson(TextRules),
    Xml(TextRules),
    HierarchyId,
    Ltree,
    Spatial(Spatial),
    Wkt(Spatial),
    VectorText,
    VectorArray,
    PgVector,
    Verbatim,
}

impl Converter {
    /// Appends a value. On an error, what was appended so far is to be thrown away.
    pub(crate) fn convert(&self, cell: &[u8], out: &mut Vec<u8>) -> Result<Changed, CellError> {
        let rounded = |rounded| Changed { rounded, ..Changed::default() };
        match self {
            Converter::Boolean => number::boolean(cell, out)?,
            Converter::TinyInt => number::tinyint(cell, out)?,
            Converter::Reverse2 => number::reversed::<2>(cell, out)?,
            Converter::Reverse4 => number::reversed::<4>(cell, out)?,
            Converter::Reverse8 => number::reversed::<8>(cell, out)?,
            Converter::Decimal { precision, scale } => number::decimal(cell, *precision, *scale, out)?,
            Converter::SmallMoney => number::smallmoney(cell, out)?,
            Converter::Money => number::money(cell, out)?,
            Converter::Uuid => number::uuid(cell, out)?,
            Converter::Date => clock::date(cell, out)?,
            Converter::Time { scale, seventh } => return clock::time(cell, *scale, *seventh, out).map(rounded),
            Converter::TimeText { scale } => clock::time_text(cell, *scale, out)?,
            Converter::DateTime => clock::datetime(cell, out)?,
            Converter::SmallDateTime => clock::smalldatetime(cell, out)?,
            Converter::DateTime2 { scale, seventh } => {
                return clock::datetime2(cell, *scale, *seventh, out).map(rounded);
            }
            Converter::DateTime2Text { scale } => clock::datetime2_text(cell, *scale, out)?,
            Converter::DateTimeOffset { scale, seventh } => {
                return clock::datetimeoffset(cell, *scale, *seventh, out).map(rounded);
            }
            Converter::DateTimeOffsetText { scale } => clock::datetimeoffset_text(cell, *scale, out)?,
            Converter::Remainder => clock::remainder(cell, out)?,
            Converter::Offset => clock::offset(cell, out)?,
            Converter::Utf16(rules) => {
                within_limit(cell.len() / 2)?;
                return utf16(cell, *rules, out);
            }
            Converter::Bytes(rules, decoder) => {
                within_limit(cell.len() / 2)?;
                return decoder.decode(cell, *rules, out);
            }
            Converter::Variant(rules) => return variant::text(cell, *rules, out),
            Converter::VariantJson(rules) => return variant::json(cell, *rules, out),
            Converter::Xml(rules) => return structured::xml(cell, *rules, out),
            Converter::HierarchyId => structured::hierarchyid(cell, out)?,
            Converter::Ltree => structured::ltree(cell, out)?,
            Converter::Spatial(spatial) => structured::spatial(cell, *spatial, out)?,
            Converter::Wkt(spatial) => structured::wkt(cell, *spatial, out)?,
            Converter::VectorText => structured::vector_text(cell, out)?,
            Converter::VectorArray => structured::vector_array(cell, out)?,
            Converter::PgVector => structured::pgvector(cell, out)?,
            Converter::Verbatim => {
                within_limit(cell.len())?;
                out.extend_from_slice(cell);
            }
        }
        Ok(Changed::default())
    }

    /// Whether two different values may become one.
    pub(crate) fn loses_digits(&self) -> bool {
        let (Converter::Time { scale, seventh }
        | Converter::DateTime2 { scale, seventh }
        | Converter::DateTimeOffset { scale, seventh }) = self
        else {
            return false;
        };
        *scale == 7 && *seventh != clock::Seventh::Beside
    }
}

/// The mapping of a type; `Err` says why there is none.
pub(crate) fn mapping(sql_type: &SqlType, types: Types) -> Result<Mapping, String> {
    let seventh = clock::Seventh::of(types.hundred_ns);
    // Scales beyond 7 do not exist; the precision of PostgreSQL ends at 6.
    let as_text = |scale: u8| scale > 6 && types.hundred_ns == HundredNs::Text;
    let (pg_type, converter) = match *sql_type {
        SqlType::Bit => (PgType::Bool, Converter::Boolean),
        SqlType::TinyInt => (PgType::Int2, Converter::TinyInt),
        SqlType::SmallInt => (PgType::Int2, Converter::Reverse2),
        SqlType::Int => (PgType::Int4, Converter::Reverse4),
        SqlType::BigInt => (PgType::Int8, Converter::Reverse8),
        SqlType::Decimal { precision, scale } => {
            if !(1..=38).contains(&precision) || scale > precision {
                return Err(format!("decimal({precision},{scale}) is not a type of SQL Server"));
            }
            let pg_type = PgType::Numeric { precision: precision.into(), scale: scale.into() };
            (pg_type, Converter::Decimal { precision, scale })
        }
        SqlType::SmallMoney => (PgType::Numeric { precision: 10, scale: 4 }, Converter::SmallMoney),
        SqlType::Money => (PgType::Numeric { precision: 19, scale: 4 }, Converter::Money),
        SqlType::Real => (PgType::Float4, Converter::Reverse4),
        SqlType::Float => (PgType::Float8, Converter::Reverse8),
        SqlType::Date => (PgType::Date, Converter::Date),
        SqlType::Time { scale } if as_text(scale) => (PgType::Text, Converter::TimeText { scale }),
        SqlType::Time { scale } => (PgType::Time { precision: scale.min(6) }, Converter::Time { scale, seventh }),
        SqlType::DateTime => (PgType::Timestamp { precision: 3 }, Converter::DateTime),
        SqlType::SmallDateTime => (PgType::Timestamp { precision: 0 }, Converter::SmallDateTime),
        SqlType::DateTime2 { scale } if as_text(scale) => (PgType::Text, Converter::DateTime2Text { scale }),
        SqlType::DateTime2 { scale } => {
            (PgType::Timestamp { precision: scale.min(6) }, Converter::DateTime2 { scale, seventh })
        }
        SqlType::DateTimeOffset { scale } if as_text(scale) || types.offset == Offset::Text => {
            (PgType::Text, Converter::DateTimeOffsetText { scale })
        }
        SqlType::DateTimeOffset { scale } => {
            (PgType::TimestampTz { precision: scale.min(6) }, Converter::DateTimeOffset { scale, seventh })
        }
        SqlType::UniqueIdentifier => (PgType::Uuid, Converter::Uuid),
        SqlType::Char { length, collation } => {
            return Ok(compared(single_byte_text(Some(length), true, collation, types), collation, types));
        }
        SqlType::VarChar { length, collation } => {
            return Ok(compared(single_byte_text(length, false, collation, types), collation, types));
        }
        SqlType::Text { collation } => return Ok(single_byte_text(None, false, collation, types)),
        SqlType::NChar { length, collation } => {
            let converter = Converter::Utf16(text_rules(true, types));
            return Ok(compared(Mapping::new(text_type(Some(length), true, types), converter), collation, types));
        }
        SqlType::NVarChar { length, collation } => {
            let converter = Converter::Utf16(text_rules(false, types));
            return Ok(compared(Mapping::new(text_type(length, false, types), converter), collation, types));
        }
        SqlType::NText { .. } => (PgType::Text, Converter::Utf16(text_rules(false, types))),
        SqlType::Binary { .. } | SqlType::VarBinary { .. } | SqlType::Image => (PgType::Bytea, Converter::Verbatim),
        SqlType::RowVersion => {
            let note = "rowversion is copied as its 8 bytes; PostgreSQL does not count it up";
            return Ok(Mapping::new(PgType::Bytea, Converter::Verbatim).noting(note));
        }
        SqlType::Variant if types.variant == VariantForm::Jsonb => {
            (PgType::Jsonb, Converter::VariantJson(text_rules(false, types)))
        }
        SqlType::Variant => (PgType::Text, Converter::Variant(text_rules(false, types))),
        SqlType::Xml if types.xml == Xml::Bytea => (PgType::Bytea, Converter::Verbatim),
        SqlType::Xml => {
            let pg_type = if types.xml == Xml::Xml { PgType::Xml } else { PgType::Text };
            (pg_type, Converter::Xml(text_rules(false, types)))
        }
        SqlType::HierarchyId if types.hierarchyid == HierarchyId::Text => (PgType::Text, Converter::HierarchyId),
        SqlType::HierarchyId if types.hierarchyid == HierarchyId::Ltree => (PgType::Ltree, Converter::Ltree),
        SqlType::HierarchyId => (PgType::Bytea, Converter::Verbatim),
        SqlType::Geometry | SqlType::Geography if types.spatial == SpatialForm::Native => {
            (PgType::Bytea, Converter::Verbatim)
        }
        SqlType::Geometry if types.spatial == SpatialForm::Wkt => (PgType::Text, Converter::Wkt(Spatial::Geometry)),
        SqlType::Geography if types.spatial == SpatialForm::Wkt => (PgType::Text, Converter::Wkt(Spatial::Geography)),
        SqlType::Geometry if types.spatial == SpatialForm::Postgis => {
            (PgType::Geometry, Converter::Spatial(Spatial::Geometry))
        }
        SqlType::Geography if types.spatial == SpatialForm::Postgis => {
            let note = "PostGIS has no curves and no FULLGLOBE in geography: such a value stops the table";
            return Ok(Mapping::new(PgType::Geography, Converter::Spatial(Spatial::Geography)).noting(note));
        }
        SqlType::Geometry => return Ok(ewkb(Spatial::Geometry)),
        SqlType::Geography => return Ok(ewkb(Spatial::Geography)),
        SqlType::Clr => return Ok(undecoded("a CLR type")),
        SqlType::Json => return Ok(undecoded("json")),
        SqlType::Vector if types.vector == VectorForm::Array => (PgType::Float4Array, Converter::VectorArray),
        SqlType::Vector if types.vector == VectorForm::Pgvector => (PgType::Vector, Converter::PgVector),
        SqlType::Vector => (PgType::Text, Converter::VectorText),
        SqlType::Unknown { code } => return Ok(undecoded(&format!("the unknown type {code}"))),
    };
    let mut mapping = Mapping::new(pg_type, converter);
    mapping.beside = beside(&mapping.converter, types);
    Ok(mapping)
}

/// What of a time goes into columns of its own.
fn beside(converter: &Converter, types: Types) -> Vec<Beside> {
    let mut beside = Vec::new();
    if let Converter::Time { scale: 7, seventh }
    | Converter::DateTime2 { scale: 7, seventh }
    | Converter::DateTimeOffset { scale: 7, seventh } = converter
        && *seventh == clock::Seventh::Beside
    {
        let (id, converter) = (TargetColumn::REMAINDER, Converter::Remainder);
        beside.push(Beside { suffix: "_100ns", id, tells_apart: true, converter });
    }
    if matches!(converter, Converter::DateTimeOffset { .. }) && types.offset == Offset::Column {
        // SQL Server compares instants, whatever their zones.
        let (id, converter) = (TargetColumn::OFFSET, Converter::Offset);
        beside.push(Beside { suffix: "_offset", id, tells_apart: false, converter });
    }
    beside
}

/// A text that is to be compared as its collation does.
fn compared(mut mapping: Mapping, collation: Collation, types: Types) -> Mapping {
    let insensitive = insensitive_to(collation);
    match (types.collation, insensitive) {
        (CollationForm::Default, _) | (_, (false, false)) => {}
        // Without its length: the source sees to it. The padding of char goes with it.
        (CollationForm::Citext, (true, _)) if !matches!(mapping.pg_type, PgType::Char { .. }) => {
            mapping.pg_type = PgType::CiText;
            if insensitive.1 {
                mapping.notes.push("its collation does not tell accents apart, citext does".to_owned());
            }
        }
        (CollationForm::Citext, _) => {
            let what = if insensitive.0 { "char with its padding is not citext" } else { "citext tells accents apart" };
            mapping.notes.push(format!("compares as the target does: {what}"));
        }
        (CollationForm::Icu, (true, false)) => mapping.comparison = Some(Comparison::CaseInsensitive),
        (CollationForm::Icu, (false, true)) => mapping.comparison = Some(Comparison::AccentInsensitive),
        (CollationForm::Icu, (true, true)) => mapping.comparison = Some(Comparison::CaseAccentInsensitive),
    }
    mapping
}

fn ewkb(spatial: Spatial) -> Mapping {
    let note = "is copied as EWKB with its SRID: PostGIS reads it by a cast to geometry";
    Mapping::new(PgType::Bytea, Converter::Spatial(spatial)).noting(note)
}

fn undecoded(name: &str) -> Mapping {
    Mapping::new(PgType::Bytea, Converter::Verbatim)
        .noting(format!("{name} is copied as the bytes that SQL Server stores"))
}

fn single_byte_text(length: Option<u16>, padded: bool, collation: Collation, types: Types) -> Mapping {
    let id = collation.0;
    let mut notes = Vec::new();
    let decoder = match code_page(collation) {
        Some(CodePage::Utf8) => Decoder::Utf8,
        Some(CodePage::Windows(number)) => Decoder::of(number).unwrap_or(Decoder::AsciiOnly),
        Some(CodePage::UnicodeOnly) => {
            notes.push(format!("collation {id:#x} has no code page: bytes beyond ASCII are invalid text"));
            Decoder::AsciiOnly
        }
        None => {
            notes.push(format!("collation {id:#x} is not known: bytes beyond ASCII are invalid text"));
            Decoder::AsciiOnly
        }
    };
    let converter = Converter::Bytes(text_rules(padded, types), decoder);
    Mapping { notes, ..Mapping::new(text_type(length, padded, types), converter) }
}

/// A type of `length` bytes or UTF-16 units: never fewer than there are characters.
fn text_type(length: Option<u16>, padded: bool, types: Types) -> PgType {
    match length {
        None | Some(0) => PgType::Text,
        Some(length) if padded && types.char_padding == CharPadding::Keep => PgType::Char { length: length.into() },
        Some(length) => PgType::VarChar { length: length.into() },
    }
}

fn text_rules(padded: bool, types: Types) -> TextRules {
    TextRules {
        nul: types.nul_character,
        invalid: types.invalid_text,
        trim: padded && types.char_padding == CharPadding::Trim,
    }
}
