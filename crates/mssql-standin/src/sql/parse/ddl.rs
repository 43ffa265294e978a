//! Types, and statements that define things.

use logferry_model::SqlType;

use super::super::ast::{
    AlterTable, ColumnSpec, Constraint, ConstraintKind, CreateTable, IndexDef, Name, ParameterType, StmtKind,
};
use super::super::collation;
use super::super::error::{Result, SqlError, unsupported};
use super::super::token::Tok;
use super::Parser;
use crate::storage::DEFAULT_COLLATION;

impl Parser<'_> {
    /// `ON (FILENAME = '...'), ... FOR ATTACH`: other files of a new database are not for a caller to say.
    fn attach(&mut self, name: String) -> Result<StmtKind> {
        self.word("PRIMARY");
        let mut files = Vec::new();
        loop {
            self.expect_op("(")?;
            loop {
                let option = self.ident()?;
                self.expect_op("=")?;
                let value = self.primary()?;
                match option.to_ascii_uppercase().as_str() {
                    "FILENAME" => files.push(value),
                    "NAME" => {}
                    other => return Err(unsupported(format!("{other} of a file in CREATE DATABASE"))),
                }
                if !self.op(",") {
                    break;
                }
            }
            self.expect_op(")")?;
            let log = self.words(&["LOG", "ON"]);
            if !log && !self.op(",") {
                break;
            }
        }
        if !self.words(&["FOR", "ATTACH"]) {
            return Err(unsupported("files in CREATE DATABASE, but FOR ATTACH"));
        }
        Ok(StmtKind::Attach(name, files))
    }

    /// `nvarchar(20)`, `[int]`, `decimal (10, 2)`, `varchar(max)`
    pub(super) fn data_type(&mut self) -> Result<SqlType> {
        let name = self.name()?.pop().unwrap_or_default();
        let mut args: Vec<String> = Vec::new();
        if name.eq_ignore_ascii_case("double") && self.word("PRECISION") {
            return Ok(SqlType::Float);
        }
        if self.is_op("(") {
            self.next();
            loop {
                match self.next() {
                    Tok::Number(n) => args.push(n),
                    Tok::Word(w) if w.eq_ignore_ascii_case("max") => args.push("max".into()),
                    Tok::Word(_) if name.eq_ignore_ascii_case("xml") => {}
                    _ => return Err(self.unexpected()),
                }
                if !self.op(",") {
                    break;
                }
            }
            self.expect_op(")")?;
        }
        sql_type(&name, &args)
    }

    /// The type of a parameter: one of the system's, or one of tables with READONLY.
    pub(super) fn parameter_type(&mut self) -> Result<ParameterType> {
        let begin = self.at;
        let name = self.name()?;
        if self.word("READONLY") {
            return Ok(ParameterType::Table(name));
        }
        self.at = begin;
        self.data_type().map(ParameterType::Scalar)
    }

    pub(super) fn create(&mut self) -> Result<StmtKind> {
        let begin = self.at;
        self.next();
        let alter = self.words(&["OR", "ALTER"]);
        if let Some(module) = self.module(begin, true, alter)? {
            return Ok(module);
        }
        if self.word("TRIGGER") {
            return self.trigger(begin, true, alter);
        }
        if alter {
            return Err(unsupported("CREATE OR ALTER of anything but views, procedures and triggers"));
        }
        if self.word("TABLE") {
            return self.create_table();
        }
        if self.word("TYPE") {
            let name = self.name()?;
            self.expect_word("AS")?;
            self.expect_word("TABLE")?;
            return self.table_of(name).map(|table| StmtKind::CreateType(Box::new(table)));
        }
        if self.word("SCHEMA") {
            // Without a name of its own, a schema is called as its owner.
            self.word("AUTHORIZATION");
            let name = self.ident()?;
            if self.word("AUTHORIZATION") {
                self.ident()?;
            }
            return Ok(StmtKind::CreateSchema(name));
        }
        if self.word("DATABASE") {
            let name = self.ident()?;
            if self.word("ON") {
                return self.attach(name);
            }
            if self.is_word("FOR") || self.is_word("AS") {
                return Err(unsupported("CREATE DATABASE ... FOR and AS"));
            }
            if self.word("COLLATE") {
                self.ident()?;
            }
            return Ok(StmtKind::CreateDatabase(name));
        }
        let unique = self.word("UNIQUE");
        let clustered = self.word("CLUSTERED");
        if !clustered {
            self.word("NONCLUSTERED");
        }
        if self.word("INDEX") {
            let name = self.ident()?;
            self.expect_word("ON")?;
            let table = self.name()?;
            let index = self.index_rest(name, unique, clustered)?;
            return Ok(StmtKind::CreateIndex(Box::new(index), table));
        }
        let what = match self.peek() {
            Tok::Word(w) => w.to_ascii_uppercase(),
            _ => return Err(self.unexpected()),
        };
        Err(match what.as_str() {
            "FUNCTION" | "SEQUENCE" | "LOGIN" | "USER" | "ROLE" | "STATISTICS" | "SYNONYM" | "COLUMNSTORE" | "XML"
            | "SPATIAL" | "FULLTEXT" | "PARTITION" | "RULE" | "DEFAULT" | "ASSEMBLY" | "OR" | "CERTIFICATE"
            | "MASTER" => unsupported(format!("CREATE {what}")),
            _ => self.unexpected(),
        })
    }

    fn index_rest(&mut self, name: String, unique: bool, clustered: bool) -> Result<IndexDef> {
        let columns = self.key_columns()?;
        let included = if self.word("INCLUDE") { self.ident_list()? } else { Vec::new() };
        let filtered = self.is_word("WHERE");
        if filtered {
            self.next();
            self.condition()?;
        }
        self.storage_options()?;
        Ok(IndexDef { name, unique, clustered, columns, included, filtered })
    }

    /// `WITH (...)`, `ON [PRIMARY]`, `TEXTIMAGE_ON [PRIMARY]`: read and left aside.
    fn storage_options(&mut self) -> Result<()> {
        loop {
            if self.is_word("WITH") && self.is_op_at(1, "(") {
                self.next();
                self.next();
                while !self.op(")") {
                    match self.next() {
                        Tok::End => return Err(self.unexpected()),
                        Tok::Word(w)
                            if ["DATA_COMPRESSION", "SYSTEM_VERSIONING", "MEMORY_OPTIMIZED", "XML_COMPRESSION"]
                                .iter()
                                .any(|o| o.eq_ignore_ascii_case(&w))
                                && !self.is_word_at(1, "NONE")
                                && !self.is_word_at(1, "OFF") =>
                        {
                            return Err(unsupported(format!("the option {w}")));
                        }
                        _ => {}
                    }
                }
            } else if self.is_word("ON") || self.is_word("TEXTIMAGE_ON") {
                self.next();
                if !self.word("PRIMARY") {
                    self.ident()?;
                }
                if self.is_op("(") {
                    return Err(unsupported("partitioned tables"));
                }
            } else {
                return Ok(());
            }
        }
    }

    fn key_columns(&mut self) -> Result<Vec<(String, bool)>> {
        self.expect_op("(")?;
        let mut out = Vec::new();
        loop {
            let name = self.ident()?;
            let descending = self.word("DESC");
            if !descending {
                self.word("ASC");
            }
            out.push((name, descending));
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(out)
    }

    fn create_table(&mut self) -> Result<StmtKind> {
        let name = self.name()?;
        if self.is_word("AS") {
            return Err(unsupported("node, edge and file tables"));
        }
        let table = self.table_of(name)?;
        self.storage_options()?;
        Ok(StmtKind::CreateTable(Box::new(table)))
    }

    /// `(columns, constraints, indexes)`
    pub(super) fn table_of(&mut self, name: Name) -> Result<CreateTable> {
        self.expect_op("(")?;
        let mut table = CreateTable { name, columns: Vec::new(), constraints: Vec::new(), indexes: Vec::new() };
        loop {
            if self.is_op(")") && !table.columns.is_empty() {
                break;
            }
            if self.word("INDEX") {
                let name = self.ident()?;
                let unique = self.word("UNIQUE");
                let clustered = self.word("CLUSTERED");
                if !clustered {
                    self.word("NONCLUSTERED");
                }
                let index = self.index_rest(name, unique, clustered)?;
                table.indexes.push(index);
            } else if self.is_word("PERIOD") {
                return Err(unsupported("temporal tables"));
            } else if let Some(constraint) = self.constraint(None)? {
                table.constraints.push(constraint);
            } else {
                table.columns.push(self.column_spec()?);
            }
            if !self.op(",") {
                break;
            }
        }
        self.expect_op(")")?;
        Ok(table)
    }

    fn column_spec(&mut self) -> Result<ColumnSpec> {
        let name = self.ident()?;
        if self.word("AS") {
            let value = self.expr()?;
            let persisted = self.word("PERSISTED");
            let not_null = self.words(&["NOT", "NULL"]);
            let mut constraints = Vec::new();
            while let Some(constraint) = self.constraint(Some(&name))? {
                constraints.push(constraint);
            }
            return Ok(ColumnSpec {
                name,
                computed: Some((value, persisted)),
                sql_type: SqlType::Int,
                nullable: not_null.then_some(false),
                identity: None,
                constraints,
            });
        }
        let bare_timestamp = name.eq_ignore_ascii_case("timestamp") && matches!(self.peek(), Tok::Op("," | ")"));
        let sql_type = if bare_timestamp { SqlType::RowVersion } else { self.data_type()? };
        let mut column =
            ColumnSpec { name, computed: None, sql_type, nullable: None, identity: None, constraints: Vec::new() };
        loop {
            if self.words(&["NOT", "NULL"]) {
                column.nullable = Some(false);
            } else if self.word("NULL") {
                column.nullable = Some(true);
            } else if self.word("IDENTITY") {
                let (mut seed, mut increment) = (1, 1);
                if self.op("(") {
                    seed = self.integer()?;
                    self.expect_op(",")?;
                    increment = self.integer()?;
                    self.expect_op(")")?;
                }
                self.words(&["NOT", "FOR", "REPLICATION"]);
                column.identity = Some((seed, increment));
            } else if self.word("COLLATE") {
                let name = self.ident()?;
                let of =
                    collation::named(&name).ok_or_else(|| unsupported(format!("columns of the collation {name}")))?;
                column.sql_type = collation::with(&column.sql_type, of);
            } else if self.word("ROWGUIDCOL") {
            } else if self.is_word("SPARSE")
                || self.is_word("MASKED")
                || self.is_word("ENCRYPTED")
                || self.is_word("GENERATED")
                || self.is_word("FILESTREAM")
            {
                return Err(unsupported("SPARSE, MASKED, ENCRYPTED, GENERATED and FILESTREAM columns"));
            } else if self.is_word("INDEX") {
                return Err(unsupported("indexes inside a column's definition"));
            } else if let Some(constraint) = self.constraint(Some(&column.name))? {
                column.constraints.push(constraint);
            } else {
                return Ok(column);
            }
        }
    }

    fn integer(&mut self) -> Result<i128> {
        let negative = self.op("-");
        match self.next() {
            Tok::Number(n) => {
                let n: i128 = n.parse().map_err(|_| self.unexpected())?;
                Ok(if negative { -n } else { n })
            }
            _ => Err(self.unexpected()),
        }
    }

    /// A constraint, of a column or of a table.
    fn constraint(&mut self, column: Option<&str>) -> Result<Option<Constraint>> {
        let name = if self.word("CONSTRAINT") { Some(self.ident()?) } else { None };
        let kind = if self.is_word("PRIMARY") || self.is_word("UNIQUE") {
            let primary = self.words(&["PRIMARY", "KEY"]);
            if !primary && !self.word("UNIQUE") {
                return Err(self.unexpected());
            }
            let clustered = match () {
                () if self.word("CLUSTERED") => Some(true),
                () if self.word("NONCLUSTERED") => Some(false),
                () => None,
            };
            let columns = match column {
                Some(column) if !self.is_op("(") => vec![(column.to_owned(), false)],
                _ => self.key_columns()?,
            };
            self.storage_options()?;
            ConstraintKind::Key { primary, clustered, columns }
        } else if self.word("CHECK") {
            self.words(&["NOT", "FOR", "REPLICATION"]);
            self.expect_op("(")?;
            let test = self.condition()?;
            self.expect_op(")")?;
            ConstraintKind::Check(test)
        } else if self.word("DEFAULT") {
            let value = self.expr()?;
            let column = match column {
                Some(column) => column.to_owned(),
                None => {
                    self.expect_word("FOR")?;
                    self.ident()?
                }
            };
            ConstraintKind::Default { column, value }
        } else if self.is_word("FOREIGN") || self.is_word("REFERENCES") {
            let columns = if self.words(&["FOREIGN", "KEY"]) {
                match column {
                    Some(column) if !self.is_op("(") => vec![column.to_owned()],
                    _ => self.ident_list()?,
                }
            } else {
                column.map(|c| vec![c.to_owned()]).ok_or_else(|| self.unexpected())?
            };
            self.expect_word("REFERENCES")?;
            let table = self.name()?;
            let referenced = if self.is_op("(") { self.ident_list()? } else { Vec::new() };
            while self.word("ON") {
                let _ = self.word("DELETE") || self.word("UPDATE");
                if !self.words(&["NO", "ACTION"]) {
                    return Err(unsupported("foreign keys with CASCADE, SET NULL or SET DEFAULT"));
                }
            }
            self.words(&["NOT", "FOR", "REPLICATION"]);
            ConstraintKind::Foreign { columns, table, referenced }
        } else if name.is_some() {
            return Err(self.unexpected());
        } else {
            return Ok(None);
        };
        Ok(Some(Constraint { name, kind }))
    }

    pub(super) fn if_exists(&mut self) -> bool {
        self.words(&["IF", "EXISTS"])
    }

    pub(super) fn name_list(&mut self) -> Result<Vec<Name>> {
        let mut out = vec![self.name()?];
        while self.op(",") {
            out.push(self.name()?);
        }
        Ok(out)
    }

    pub(super) fn drop(&mut self) -> Result<StmtKind> {
        self.next();
        let view = self.word("VIEW");
        if view || self.word("PROCEDURE") || self.word("PROC") {
            let if_exists = self.if_exists();
            return Ok(StmtKind::DropModule { view, names: self.name_list()?, if_exists });
        }
        if self.word("TRIGGER") {
            return self.drop_trigger();
        }
        if self.word("TYPE") {
            let if_exists = self.if_exists();
            return Ok(StmtKind::DropType { name: self.name()?, if_exists });
        }
        if self.word("TABLE") {
            let if_exists = self.if_exists();
            return Ok(StmtKind::DropTable { names: self.name_list()?, if_exists });
        }
        if self.word("DATABASE") {
            let if_exists = self.if_exists();
            let names = self.name_list()?.into_iter().filter_map(|mut n| n.pop()).collect();
            return Ok(StmtKind::DropDatabase { names, if_exists });
        }
        if self.word("INDEX") {
            let if_exists = self.if_exists();
            let mut first = self.name()?;
            if self.word("ON") {
                let index = first.pop().unwrap_or_default();
                let table = self.name()?;
                self.storage_options()?;
                return Ok(StmtKind::DropIndex { index, table, if_exists });
            }
            let index = first.pop().unwrap_or_default();
            return match first.is_empty() {
                true => Err(self.unexpected()),
                false => Ok(StmtKind::DropIndex { index, table: first, if_exists }),
            };
        }
        Err(match self.peek() {
            Tok::Word(w) => unsupported(format!("DROP {}", w.to_ascii_uppercase())),
            _ => self.unexpected(),
        })
    }

    pub(super) fn alter(&mut self) -> Result<StmtKind> {
        let begin = self.at;
        self.next();
        if let Some(module) = self.module(begin, false, true)? {
            return Ok(module);
        }
        if self.word("TRIGGER") {
            return self.trigger(begin, false, true);
        }
        if self.word("DATABASE") {
            return self.alter_database();
        }
        if self.word("INDEX") {
            return self.alter_index();
        }
        if !self.word("TABLE") {
            return Err(match self.peek() {
                Tok::Word(w) => unsupported(format!("ALTER {}", w.to_ascii_uppercase())),
                _ => self.unexpected(),
            });
        }
        let table = self.name()?;
        if self.word("WITH") {
            let _ = self.word("CHECK") || self.word("NOCHECK");
        }
        if self.word("ADD") {
            let (mut columns, mut constraints, mut with_values) = (Vec::new(), Vec::new(), false);
            loop {
                match self.constraint(None)? {
                    Some(constraint) => constraints.push(constraint),
                    None => columns.push(self.column_spec()?),
                }
                with_values |= self.words(&["WITH", "VALUES"]);
                if !self.op(",") {
                    break;
                }
            }
            return Ok(StmtKind::AlterTable(table, AlterTable::Add { columns, constraints, with_values }));
        }
        if self.word("REBUILD") {
            self.maintenance_options()?;
            return Ok(StmtKind::AlterTable(table, AlterTable::Rebuild));
        }
        if self.words(&["ALTER", "COLUMN"]) {
            return Ok(StmtKind::AlterTable(table, AlterTable::Alter(self.column_spec()?)));
        }
        if self.word("DROP") {
            let (mut columns, mut constraints, mut if_exists, mut of_columns) = (Vec::new(), Vec::new(), false, false);
            loop {
                if self.word("COLUMN") {
                    of_columns = true;
                    if_exists |= self.if_exists();
                } else if self.word("CONSTRAINT") {
                    of_columns = false;
                    if_exists |= self.if_exists();
                }
                let list = if of_columns { &mut columns } else { &mut constraints };
                list.push(self.ident()?);
                if !self.op(",") {
                    break;
                }
            }
            return Ok(StmtKind::AlterTable(table, AlterTable::Drop { columns, constraints, if_exists }));
        }
        if self.words(&["CHECK", "CONSTRAINT"]) {
            if !self.word("ALL") {
                self.ident()?;
            }
            return Ok(StmtKind::AlterTable(table, AlterTable::Check));
        }
        Err(match self.peek() {
            Tok::Word(w) => unsupported(format!("ALTER TABLE ... {}", w.to_ascii_uppercase())),
            _ => self.unexpected(),
        })
    }

    fn alter_index(&mut self) -> Result<StmtKind> {
        let index = if self.word("ALL") { None } else { Some(self.ident()?) };
        self.expect_word("ON")?;
        let table = self.name()?;
        let reorganize = self.word("REORGANIZE");
        if !reorganize && !self.word("REBUILD") {
            return Err(match self.peek() {
                Tok::Word(w) => unsupported(format!("ALTER INDEX ... {}", w.to_ascii_uppercase())),
                _ => self.unexpected(),
            });
        }
        self.maintenance_options()?;
        Ok(StmtKind::AlterIndex { index, table, reorganize })
    }

    /// `PARTITION = ALL WITH (...)`: read and left aside.
    fn maintenance_options(&mut self) -> Result<()> {
        if self.word("PARTITION") {
            self.expect_op("=")?;
            self.next();
        }
        self.storage_options()
    }

    fn alter_database(&mut self) -> Result<StmtKind> {
        let name = if self.word("CURRENT") { None } else { Some(self.ident()?) };
        if !self.word("SET") {
            return Err(unsupported("ALTER DATABASE without SET"));
        }
        let mut options = Vec::new();
        loop {
            let Tok::Word(option) = self.next() else { return Err(self.unexpected()) };
            self.op("=");
            let value = match self.peek().clone() {
                Tok::Word(w) if !w.eq_ignore_ascii_case("WITH") => {
                    self.next();
                    w.to_ascii_uppercase()
                }
                Tok::Number(n) => {
                    self.next();
                    n
                }
                _ => String::new(),
            };
            options.push((option.to_ascii_uppercase(), value));
            if !self.op(",") {
                break;
            }
        }
        if self.word("WITH") {
            while let Tok::Word(_) | Tok::Number(_) = self.peek() {
                self.next();
            }
        }
        Ok(StmtKind::AlterDatabase { name, options })
    }
}

/// The type of a name and what stands in its parentheses.
fn sql_type(name: &str, args: &[String]) -> Result<SqlType> {
    let lower = name.to_ascii_lowercase();
    let collation = DEFAULT_COLLATION;
    let number = |at: usize, default: u32| -> Result<u32> {
        args.get(at).map_or(Ok(default), |a| a.parse().map_err(|_| super::super::error::syntax(a, 0)))
    };
    let max = args.first().is_some_and(|a| a == "max");
    let length = |most: u32| -> Result<u16> {
        let n = number(0, 1)?;
        if n == 0 {
            return Err(SqlError::batch(1001, "Line 1: Length or precision specification 0 is invalid.").class(15));
        }
        if n > most {
            return Err(SqlError::batch(
                131,
                format!(
                    "The size ({n}) given to the type '{lower}' exceeds the maximum allowed for any data type (8000)."
                ),
            )
            .class(15));
        }
        Ok(n as u16)
    };
    let scale = || -> Result<u8> {
        let n = number(0, 7)?;
        if n > 7 {
            return Err(SqlError::batch(1002, format!("Line 1: Specified scale {n} is invalid.")).class(15));
        }
        Ok(n as u8)
    };
    Ok(match lower.as_str() {
        "bit" => SqlType::Bit,
        "tinyint" => SqlType::TinyInt,
        "smallint" => SqlType::SmallInt,
        "int" | "integer" => SqlType::Int,
        "bigint" => SqlType::BigInt,
        "decimal" | "numeric" | "dec" => {
            let (precision, scale) = (number(0, 18)?, number(1, 0)?);
            if !(1..=38).contains(&precision) {
                return Err(SqlError::batch(
                    2750,
                    format!(
                        "Column, parameter, or variable #1: Specified column precision {precision} is greater than the maximum precision of 38."
                    ),
                ));
            }
            if scale > precision {
                return Err(SqlError::batch(192, "The scale must be less than or equal to the precision.").class(15));
            }
            SqlType::Decimal { precision: precision as u8, scale: scale as u8 }
        }
        "money" => SqlType::Money,
        "smallmoney" => SqlType::SmallMoney,
        "float" => match number(0, 53)? {
            1..=24 => SqlType::Real,
            25..=53 => SqlType::Float,
            n => {
                return Err(SqlError::batch(
                    2750,
                    format!("Specified column precision {n} is greater than the maximum precision of 53."),
                ));
            }
        },
        "real" => SqlType::Real,
        "date" => SqlType::Date,
        "time" => SqlType::Time { scale: scale()? },
        "datetime" => SqlType::DateTime,
        "smalldatetime" => SqlType::SmallDateTime,
        "datetime2" => SqlType::DateTime2 { scale: scale()? },
        "datetimeoffset" => SqlType::DateTimeOffset { scale: scale()? },
        "uniqueidentifier" => SqlType::UniqueIdentifier,
        "char" | "character" => SqlType::Char { length: length(8000)?, collation },
        "varchar" if max => SqlType::VarChar { length: None, collation },
        "varchar" => SqlType::VarChar { length: Some(length(8000)?), collation },
        "nchar" => SqlType::NChar { length: length(4000)?, collation },
        "nvarchar" if max => SqlType::NVarChar { length: None, collation },
        "nvarchar" => SqlType::NVarChar { length: Some(length(4000)?), collation },
        "sysname" => SqlType::NVarChar { length: Some(128), collation },
        "text" => SqlType::Text { collation },
        "ntext" => SqlType::NText { collation },
        "binary" => SqlType::Binary { length: length(8000)? },
        "varbinary" if max => SqlType::VarBinary { length: None },
        "varbinary" => SqlType::VarBinary { length: Some(length(8000)?) },
        "image" => SqlType::Image,
        "timestamp" | "rowversion" => SqlType::RowVersion,
        "sql_variant" => SqlType::Variant,
        "xml" => SqlType::Xml,
        "hierarchyid" => SqlType::HierarchyId,
        "geometry" => SqlType::Geometry,
        "geography" => SqlType::Geography,
        "json" | "vector" => {
            return Err(unsupported(format!("the type {lower}")));
        }
        _ => {
            return Err(SqlError::batch(
                2715,
                format!("Column, parameter, or variable #1: Cannot find data type {name}."),
            )
            .state(6));
        }
    })
}
