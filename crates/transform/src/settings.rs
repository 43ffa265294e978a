//! What a user may choose about names and types: the `names:` and `types:` parts of a task.
//!
//! Plain data, read by `config`. Keys of the maps are names as the source spells them, joined by full stops:
//! `schema.table` and `schema.table.column`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything that a [`TablePlan`](crate::TablePlan) is compiled with besides the table.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How things are called on the target.
    pub names: Names,
    /// How values are mapped, for all columns.
    pub types: Types,
    /// How values of single columns are mapped instead, by `schema.table.column`.
    pub columns: BTreeMap<String, ColumnTypes>,
}

/// How schemas, tables and columns are called on the target.
///
/// A name that a map gives is used as it is written there; all others follow `case`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Names {
    /// Upper and lower case.
    pub case: NameCase,
    /// Source schema to target schema.
    pub schemas: BTreeMap<String, String>,
    /// Tables, by `schema.table`.
    pub tables: BTreeMap<String, TableRename>,
    /// Columns, by `schema.table.column`.
    pub columns: BTreeMap<String, String>,
    /// The source database, where several share a target: its schema `dbo` is called as the database is, another one
    /// `database_schema`. Not a key of its own.
    #[serde(skip)]
    pub database: Option<String>,
}

/// Where a table goes instead.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TableRename {
    /// Its schema on the target, where it differs from that of other tables of its schema.
    pub schema: Option<String>,
    /// Its name on the target.
    pub name: Option<String>,
}

/// `names.case`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NameCase {
    /// ASCII letters to lower case: what PostgreSQL makes of a name without quotes, so that none are needed.
    #[default]
    Lower,
    /// As the source spells it.
    Preserve,
    /// ASCII letters to upper case.
    Upper,
}

/// `types:`, for all columns of a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Types {
    /// The padding of `char(n)` and `nchar(n)`.
    pub char_padding: CharPadding,
    /// U+0000 in text, which PostgreSQL cannot hold.
    pub nul_character: NulCharacter,
    /// Bytes that are no text: lone surrogates, holes of a code page.
    pub invalid_text: InvalidText,
    /// How text is compared.
    pub collation: CollationForm,
    /// The seventh digit of a second, which PostgreSQL cannot hold.
    pub hundred_ns: HundredNs,
    /// The zone of a `datetimeoffset`.
    pub offset: Offset,
    /// The type of `xml` columns.
    pub xml: Xml,
    /// The form of `hierarchyid`.
    pub hierarchyid: HierarchyId,
    /// The form of `geometry` and `geography`.
    pub spatial: SpatialForm,
    /// The form of `sql_variant`.
    pub variant: VariantForm,
    /// The form of `vector`.
    pub vector: VectorForm,
    /// What columns of alias types are declared of.
    pub alias_types: AliasTypes,
}

/// `types:` of one column: what is not given is as for all columns.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnTypes {
    /// See [`Types::char_padding`].
    pub char_padding: Option<CharPadding>,
    /// See [`Types::nul_character`].
    pub nul_character: Option<NulCharacter>,
    /// See [`Types::invalid_text`].
    pub invalid_text: Option<InvalidText>,
    /// See [`Types::collation`].
    pub collation: Option<CollationForm>,
    /// See [`Types::hundred_ns`].
    pub hundred_ns: Option<HundredNs>,
    /// See [`Types::offset`].
    pub offset: Option<Offset>,
    /// See [`Types::xml`].
    pub xml: Option<Xml>,
    /// See [`Types::hierarchyid`].
    pub hierarchyid: Option<HierarchyId>,
    /// See [`Types::spatial`].
    pub spatial: Option<SpatialForm>,
    /// See [`Types::variant`].
    pub variant: Option<VariantForm>,
    /// See [`Types::vector`].
    pub vector: Option<VectorForm>,
    /// See [`Types::alias_types`].
    pub alias_types: Option<AliasTypes>,
}

impl Types {
    /// These settings with those of one column laid over them.
    pub fn with(self, column: &ColumnTypes) -> Types {
        Types {
            char_padding: column.char_padding.unwrap_or(self.char_padding),
            nul_character: column.nul_character.unwrap_or(self.nul_character),
            invalid_text: column.invalid_text.unwrap_or(self.invalid_text),
            collation: column.collation.unwrap_or(self.collation),
            hundred_ns: column.hundred_ns.unwrap_or(self.hundred_ns),
            offset: column.offset.unwrap_or(self.offset),
            xml: column.xml.unwrap_or(self.xml),
            hierarchyid: column.hierarchyid.unwrap_or(self.hierarchyid),
            spatial: column.spatial.unwrap_or(self.spatial),
            variant: column.variant.unwrap_or(self.variant),
            vector: column.vector.unwrap_or(self.vector),
            alias_types: column.alias_types.unwrap_or(self.alias_types),
        }
    }
}

/// `types.char_padding`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CharPadding {
    /// `char(n)` becomes `varchar(n)` without the trailing spaces.
    #[default]
    Trim,
    /// `char(n)` stays `char(n)`.
    Keep,
}

/// `types.nul_character`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NulCharacter {
    /// It is left out, and counted.
    #[default]
    Remove,
    /// It becomes U+FFFD, and is counted.
    Replace,
    /// The row is an error.
    Error,
}

/// `types.invalid_text`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InvalidText {
    /// It becomes U+FFFD, and the value is counted.
    #[default]
    Replace,
    /// The row is an error.
    Error,
}

/// `types.collation`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CollationForm {
    /// As the target's database compares text: by its characters.
    #[default]
    Default,
    /// Columns that do not tell `A` from `a` on the source become `citext`, of the extension of that name.
    Citext,
    /// Columns that do not tell `A` from `a`, or `ä` from `a`, on the source get a collation of ICU that does not either.
    Icu,
}

/// `types.hundred_ns`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HundredNs {
    /// To the nearest microsecond of the same day: 23:59:59.9999999 becomes 23:59:59.999999.
    #[default]
    Round,
    /// The digit is cut off.
    Truncate,
    /// Columns with seven digits become `text`, with all digits.
    Text,
    /// Columns with seven digits get another one beside them that has the seventh, `smallint`: `At` and `At_100ns`.
    Remainder,
}

/// `types.offset`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Offset {
    /// The instant is kept, the zone is not.
    #[default]
    Drop,
    /// The column gets another one beside it that has the zone, in minutes, `smallint`: `At` and `At_offset`.
    Column,
    /// The column becomes `text`: local time and zone, as SQL Server shows it.
    Text,
}

/// `types.xml`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Xml {
    /// `xml`, which PostgreSQL must have been built with.
    #[default]
    Xml,
    /// `text`: the same characters, which PostgreSQL does not look at.
    Text,
    /// `bytea`: the bytes that SQL Server stores.
    Bytea,
}

/// `types.hierarchyid`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HierarchyId {
    /// Its path: `/1/2.5/`.
    #[default]
    Text,
    /// Its bytes, which sort as the tree is walked.
    Bytea,
    /// `ltree`, of the extension of that name: `/1/2.5/-3/` is `1.2_5.n3`.
    Ltree,
}

/// `types.spatial`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SpatialForm {
    /// EWKB with the SRID, in `bytea`: PostGIS casts it to `geometry`.
    #[default]
    Ewkb,
    /// PostGIS' `geometry` and `geography`.
    Postgis,
    /// `text`: WKT, with the SRID in front where there is one, `SRID=4326;POINT (1 2)`.
    Wkt,
    /// The bytes that SQL Server stores.
    Native,
}

/// `types.variant`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VariantForm {
    /// `text`: the value.
    #[default]
    Text,
    /// `jsonb`: the value and its type, `{"type": "int", "value": 5}`.
    Jsonb,
}

/// `types.alias_types`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AliasTypes {
    /// The type that the alias is of.
    #[default]
    Base,
    /// A domain of the alias type's name.
    Domain,
}

/// `types.vector`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VectorForm {
    /// `real[]`
    #[default]
    Array,
    /// `vector`, of the extension pgvector.
    Pgvector,
    /// `text`: `[1,2.5]`, which pgvector reads.
    Text,
}
