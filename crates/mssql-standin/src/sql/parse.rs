//! T-SQL to a tree.
//!
//! Written by hand: batches have no separators between statements, and errors must name the token and its line as
//! SQL Server does, which a parser of general SQL gives neither of.

mod change;
mod cursor;
mod ddl;
mod exec;
mod expr;
mod merge;
mod module;
pub(crate) mod option;
mod query;
mod statement;
mod trigger;

use logferry_model::SqlType;

use super::ast::{Expr, ParameterType, Stmt};
use super::error::{Result, SqlError};
use super::token::{Tok, Token, tokens};

/// Nesting that is still parsed: SQL Server ends with error 191 as well.
const DEPTH_MAX: u32 = 200;

/// All statements of a batch.
pub(crate) fn parse(sql: &str) -> Result<Vec<Stmt>> {
    let mut p = Parser::new(sql)?;
    let mut out = Vec::new();
    loop {
        while p.op(";") {}
        if p.peek() == &Tok::End {
            return Ok(out);
        }
        out.push(p.statement()?);
    }
}

/// A type by itself, as `value()` has it in a text.
pub(crate) fn parse_type(text: &str) -> Result<SqlType> {
    let mut p = Parser::new(text)?;
    let sql_type = p.data_type()?;
    match p.peek() {
        Tok::End => Ok(sql_type),
        _ => Err(p.unexpected()),
    }
}

/// An expression by itself, as the text of a constraint.
pub(crate) fn parse_expression(text: &str) -> Result<Expr> {
    let mut p = Parser::new(text)?;
    let expr = p.expr()?;
    match p.peek() {
        Tok::End => Ok(expr),
        _ => Err(p.unexpected()),
    }
}

/// A list of parameters as `sp_executesql` has it: `@a int, @b nvarchar(20) OUTPUT`.
pub(crate) fn parse_parameters(text: &str) -> Result<Vec<(String, ParameterType)>> {
    let mut p = Parser::new(text)?;
    let mut out = Vec::new();
    while p.peek() != &Tok::End {
        let name = p.variable()?;
        p.word("AS");
        let sql_type = p.parameter_type()?;
        if p.op("=") {
            p.expr()?;
        }
        let _ = p.word("OUTPUT") || p.word("OUT");
        out.push((name, sql_type));
        if !p.op(",") && p.peek() != &Tok::End {
            return Err(p.unexpected());
        }
    }
    Ok(out)
}

struct Parser<'a> {
    sql: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: u32,
    /// What a statement names and is not there, whatever there is: it fails when it is its turn.
    missing: Option<SqlError>,
    /// Inside of ALTER TABLE ADD.
    adding: bool,
}

impl<'a> Parser<'a> {
    fn new(sql: &'a str) -> Result<Self> {
        Ok(Parser { sql, tokens: tokens(sql)?, at: 0, depth: 0, missing: None, adding: false })
    }
}
