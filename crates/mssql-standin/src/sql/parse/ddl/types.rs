//! Names of types, with what stands in their parentheses.

use logferry_model::SqlType;

use super::super::super::ast::ParameterType;
use super::super::super::error::{Result, SqlError, unsupported};
use super::super::super::token::Tok;
use super::super::Parser;
use logferry_mssql_standin_storage::DEFAULT_COLLATION;

impl Parser<'_> {
    /// `nvarchar(20)`, `[int]`, `decimal (10, 2)`, `varchar(max)`
    pub(in crate::sql::parse) fn data_type(&mut self) -> Result<SqlType> {
        let name = self.name()?.pop().unwrap_or_default();
        let mut args: Vec<String> = Vec::new();
        if name.eq_ignore_ascii_case("double") && self.word("PRECISION") {
            return Ok(SqlType::Float);
        }
        if self.is_op("(") {
            self.skip();
            loop {
                match self.next() {
                    Tok::Number(n) => args.push(n),
                    Tok::Word(w) if w.eq_ignore_ascii_case("max") => args.push("max".into()),
                    Tok::Word(_) if name.eq_ignore_ascii_case("xml") => {}
                    Tok::End => return Err(self.unexpected()),
                    _ => {
                        self.at = self.at.saturating_sub(1);
                        return Err(self.unexpected());
                    }
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
    pub(in crate::sql::parse) fn parameter_type(&mut self) -> Result<ParameterType> {
        let begin = self.at;
        let name = self.name()?;
        if self.word("READONLY") {
            return Ok(ParameterType::Table(name));
        }
        self.at = begin;
        self.data_type().map(ParameterType::Scalar)
    }
}

/// The type of a name and what stands in its parentheses.
fn sql_type(name: &str, args: &[String]) -> Result<SqlType> {
    let lower = name.to_ascii_lowercase();
    let collation = DEFAULT_COLLATION;
    let number = |at: usize, default: u32| -> Result<u32> {
        args.get(at).map_or(Ok(default), |a| a.parse().map_err(|_| super::super::super::error::syntax(a, 0)))
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
