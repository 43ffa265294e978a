//! Which rows of a table are wanted: the T-SQL of `tables.where`.
//!
//! The server evaluates it, in the full copy and for changed rows, always within parentheses and behind other conditions. So the text
//! must not be able to leave its parentheses, and must come to the same result whenever it is asked: a row that once was in would else
//! stay on the target, or never come. What it may have is therefore listed here, and all else is refused by name: columns of
//! the row, constants, operators, and functions that look at nothing but their arguments.
//!
//! The session's settings are ours ([`crate::sql::SESSION`]), so that dates in texts are read in one way.

use std::sync::Arc;

use logferry_model::{SourceColumn, TableName};

use crate::catalog::Table;
use crate::chunks;
use crate::error::Error;
use crate::session::Session;

/// Conditions by `schema.table`, whatever its case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions(Arc<Vec<(String, String)>>);

impl Conditions {
    /// Of tables and their T-SQL.
    pub fn new(all: Vec<(String, String)>) -> Self {
        Conditions(Arc::new(all))
    }

    fn of(&self, table: &TableName) -> Option<&str> {
        let name = table.to_string().to_lowercase();
        self.0.iter().find(|(of, _)| of.to_lowercase() == name).map(|(_, text)| text.as_str())
    }

    /// Gives tables their conditions: what is wrong with them, by table.
    pub(crate) fn lay_on(&self, tables: &mut [Table]) -> Vec<(TableName, String)> {
        let mut wrong = Vec::new();
        for table in tables {
            let Some(text) = self.of(&table.version.name) else { continue };
            match Condition::parse(text, &table.version.columns) {
                Ok(condition) => table.condition = Some(Arc::new(condition)),
                Err(why) => wrong.push((table.version.name.clone(), why)),
            }
        }
        wrong
    }
}

/// A condition that was looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Condition {
    text: String,
    /// Places of the columns that it names.
    pub(crate) columns: Vec<usize>,
}

impl Condition {
    /// Looks at a text; why it is refused.
    pub(crate) fn parse(text: &str, columns: &[SourceColumn]) -> Result<Condition, String> {
        let tokens = tokens(text)?;
        let mut named = Vec::new();
        let mut depth = 0u32;
        for (at, token) in tokens.iter().enumerate() {
            let next_opens = tokens.get(at + 1) == Some(&Token::Sign('('));
            let before = at.checked_sub(1).and_then(|at| tokens.get(at));
            match token {
                Token::Sign('(') => depth += 1,
                Token::Sign(')') => depth = depth.checked_sub(1).ok_or("it has a \")\" too many")?,
                Token::Sign(_) | Token::Constant => {}
                Token::Quoted(name) => named.push(column(columns, name).ok_or_else(|| no_column(name))?),
                Token::Word(word) => {
                    let upper = word.to_ascii_uppercase();
                    let is = |list: &str| list.split(' ').any(|known| known == upper);
                    if matches!(before, Some(Token::Word(w)) if w.eq_ignore_ascii_case("COLLATE")) || is(KEYWORDS) {
                        // Names of collations are words.
                    } else if next_opens {
                        if !is(FUNCTIONS) && !is(TYPES) {
                            return Err(no_function(word));
                        }
                    } else if let Some(found) = column(columns, word) {
                        named.push(found);
                    } else if !(is(TYPES) || is(DATE_PARTS) && is_date_part(&tokens, at)) {
                        return Err(no_column(word));
                    }
                }
            }
        }
        if depth > 0 {
            return Err("it has a \"(\" too many".to_owned());
        }
        if tokens.is_empty() {
            return Err("it is empty".to_owned());
        }
        named.sort_unstable();
        named.dedup();
        Ok(Condition { text: text.trim().to_owned(), columns: named })
    }

    /// The condition in parentheses.
    pub(crate) fn text(&self) -> String {
        format!("({})", self.text)
    }

    /// 1 where it holds, 0 where it does not or is not known.
    pub(crate) fn as_number(&self) -> String {
        format!("CASE WHEN ({}) THEN 1 ELSE 0 END", self.text)
    }
}

/// Has the server look at the conditions: nothing is read. What it says of those that it does not take, by table.
pub(crate) async fn probe(session: &mut Session, tables: &[&Table]) -> Result<Vec<(TableName, String)>, Error> {
    let mut wrong = Vec::new();
    for table in tables {
        let Some(condition) = &table.condition else { continue };
        let name = &table.version.name;
        let doing = format!("try the condition of table \"{name}\"");
        let text = format!("SELECT TOP (0) {} AS passes FROM {}", condition.as_number(), chunks::from(table));
        match session.rows(&doing, &text, &[]).await {
            Ok(_) => {}
            Err(Error::Statement { said, number, .. }) => {
                wrong.push((name.clone(), format!("the server does not take it: {said} (error {number})")));
            }
            Err(other) => return Err(other),
        }
    }
    Ok(wrong)
}

/// Sees that the server takes all conditions.
pub(crate) async fn must_be_taken(session: &mut Session, tables: &[&Table]) -> Result<(), Error> {
    refuse(&probe(session, tables).await?)
}

/// An error of what is wrong with conditions, if anything.
pub(crate) fn refuse(wrong: &[(TableName, String)]) -> Result<(), Error> {
    if wrong.is_empty() {
        return Ok(());
    }
    let lines: Vec<String> = wrong.iter().map(|(table, why)| said(table, why)).collect();
    Err(Error::Condition(lines.join("\n")))
}

/// A sentence about a condition.
pub(crate) fn said(table: &TableName, why: &str) -> String {
    format!("the rows of table \"{table}\" cannot be told by tables.where: {why}")
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    Sign(char),
    Constant,
    Word(String),
    /// In brackets or double quotes.
    Quoted(String),
}

/// Longer ones would slow down each look-up of rows.
const LENGTH_MAX: usize = 4_000;

fn tokens(text: &str) -> Result<Vec<Token>, String> {
    if text.len() > LENGTH_MAX {
        return Err(format!("it is longer than {LENGTH_MAX} bytes"));
    }
    let mut tokens = Vec::new();
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let after = rest.get(first.len_utf8()..).unwrap_or_default();
        let second = after.chars().next();
        rest = match first {
            ' ' | '\t' | '\n' | '\r' => after,
            '-' if second == Some('-') => return Err("it has a comment".to_owned()),
            '/' if second == Some('*') => return Err("it has a comment".to_owned()),
            '\'' => {
                let (_, after) = quoted(after, '\'').ok_or("a text in it has no end")?;
                tokens.push(Token::Constant);
                after
            }
            'N' | 'n' if second == Some('\'') => {
                let after = after.strip_prefix('\'').unwrap_or(after);
                let (_, after) = quoted(after, '\'').ok_or("a text in it has no end")?;
                tokens.push(Token::Constant);
                after
            }
            '[' | '"' => {
                let end = if first == '[' { ']' } else { '"' };
                let (name, after) = quoted(after, end).ok_or("a name in it has no end")?;
                tokens.push(Token::Quoted(name));
                after
            }
            '0'..='9' | '.' if first != '.' || second.is_some_and(|c| c.is_ascii_digit()) => {
                tokens.push(Token::Constant);
                let after = number(rest);
                if after.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '#' | '$' | '@')) {
                    return Err("a number in it runs into a word".to_owned());
                }
                after
            }
            '(' | ')' | ',' | '=' | '<' | '>' | '!' | '+' | '-' | '*' | '/' | '%' | '&' | '|' | '^' | '~' => {
                tokens.push(Token::Sign(first));
                after
            }
            '.' => return Err("it has a name of several parts: columns are named alone".to_owned()),
            '@' => return Err("it has a variable".to_owned()),
            c if c == '_' || c == '#' || c.is_alphabetic() => {
                let fits = |c: char| c == '_' || c == '#' || c == '$' || c == '@' || c.is_alphanumeric();
                let (word, after) = rest.split_at(rest.find(|c| !fits(c)).unwrap_or(rest.len()));
                tokens.push(Token::Word(word.to_owned()));
                after
            }
            ';' => return Err("it has a \";\"".to_owned()),
            other => return Err(format!("it has the character {other:?}")),
        };
    }
    Ok(tokens)
}

/// What is before the end, which stands for itself where it is doubled; and what is behind.
fn quoted(text: &str, end: char) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut rest = text;
    loop {
        let (before, after) = rest.split_once(end)?;
        out.push_str(before);
        match after.strip_prefix(end) {
            Some(more) => {
                out.push(end);
                rest = more;
            }
            None => return Some((out, after)),
        }
    }
}

/// What is behind a number: `12`, `1.5`, `.5`, `1e-5`, `0x1f`.
fn number(text: &str) -> &str {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return hex.trim_start_matches(|c: char| c.is_ascii_hexdigit());
    }
    let digits = |text: &'_ str| -> usize { text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()) };
    let behind = |text| text_behind(text, digits(text));
    let whole = behind(text);
    let fraction = whole.strip_prefix('.').map_or(whole, behind);
    match fraction.strip_prefix(['e', 'E']) {
        Some(exponent) => behind(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)),
        None => fraction,
    }
}

fn text_behind(text: &str, at: usize) -> &str {
    text.get(at..).unwrap_or_default()
}

/// The place of a column. Case counts only where names differ in nothing else.
fn column(columns: &[SourceColumn], name: &str) -> Option<usize> {
    let same = columns.iter().position(|c| c.name == name);
    same.or_else(|| columns.iter().position(|c| c.name.to_lowercase() == name.to_lowercase()))
}

/// `DATEADD(day, ...)`: the first argument.
fn is_date_part(tokens: &[Token], at: usize) -> bool {
    let function = at.checked_sub(2).and_then(|at| tokens.get(at));
    let opens = at.checked_sub(1).and_then(|at| tokens.get(at)) == Some(&Token::Sign('('));
    opens
        && matches!(function, Some(Token::Word(f)) if DATE_FUNCTIONS.split(' ').any(|known| f.eq_ignore_ascii_case(known)))
}

fn no_column(name: &str) -> String {
    if ["SELECT", "EXISTS", "FROM"].contains(&name.to_ascii_uppercase().as_str()) {
        return format!("it has {}: a condition looks at nothing but the row", name.to_ascii_uppercase());
    }
    format!("\"{name}\" is no stored column of the table, and no word that a condition may have")
}

fn no_function(name: &str) -> String {
    if name.eq_ignore_ascii_case("EXISTS") {
        return no_column(name);
    }
    format!(
        "{}() is none of the functions that a condition may have: those whose result depends on nothing but the row",
        name.to_ascii_uppercase()
    )
}

const KEYWORDS: &str = "AND OR NOT IN IS NULL LIKE BETWEEN ESCAPE CASE WHEN THEN ELSE END COLLATE AS";

const TYPES: &str = "BIT TINYINT SMALLINT INT BIGINT DECIMAL NUMERIC MONEY SMALLMONEY FLOAT REAL DATE TIME DATETIME DATETIME2 \
    DATETIMEOFFSET SMALLDATETIME CHAR VARCHAR NCHAR NVARCHAR BINARY VARBINARY UNIQUEIDENTIFIER MAX";

const DATE_FUNCTIONS: &str = "DATEADD DATEDIFF DATEPART DATEDIFF_BIG";

/// Their results depend on their arguments, and on settings of the session that are ours.
const FUNCTIONS: &str = "ABS CEILING FLOOR ROUND SIGN SQUARE SQRT POWER LEN DATALENGTH LEFT RIGHT SUBSTRING UPPER LOWER LTRIM RTRIM \
    TRIM REPLACE REVERSE REPLICATE SPACE STUFF CHARINDEX PATINDEX CONCAT ASCII UNICODE CHAR NCHAR ISNULL COALESCE \
    NULLIF IIF CHOOSE YEAR MONTH DAY DATEADD DATEDIFF DATEDIFF_BIG DATEPART DATEFROMPARTS EOMONTH CAST CONVERT \
    TRY_CAST TRY_CONVERT";

const DATE_PARTS: &str = "YEAR YY YYYY QUARTER QQ Q MONTH MM M DAYOFYEAR DY Y DAY DD D WEEK WK WW WEEKDAY DW HOUR HH MINUTE MI N SECOND \
    SS S MILLISECOND MS MICROSECOND MCS NANOSECOND NS ISO_WEEK";

#[cfg(test)]
mod tests {
    use logferry_model::SqlType;

    use super::*;

    #[track_caller]
    fn check(text: &str, expect: Result<&[usize], &str>) {
        let column = |(id, name): (u32, &str)| SourceColumn {
            id,
            name: name.to_owned(),
            sql_type: SqlType::Int,
            alias: None,
            nullable: true,
            identity: None,
            computed: false,
            missing: None,
            stored: None,
        };
        let columns: Vec<_> = (0..).zip(["Region", "Year", "a]b", "date", "x;y"]).map(column).collect();
        let found = Condition::parse(text, &columns).map(|c| c.columns);
        match expect {
            Ok(columns) => assert_eq!(found.as_deref(), Ok(columns), "{text}"),
            Err(why) => {
                let said = found.expect_err(text);
                assert!(said.contains(why), "{text}: {said}");
            }
        }
    }

    #[test]
    fn what_looks_at_the_row_alone_is_taken() {
        check("Region = 'EU' AND Year >= 2024", Ok(&[0, 1]));
        check("region IN (N'it''s; -- no comment', 'a)') or [a]]b] is not null", Ok(&[0, 2]));
        check("YEAR(date) = 2024 AND DATEADD(day, -1, date) < '2024-01-01'", Ok(&[3]));
        check("DATEPART(week, [date]) BETWEEN 1 AND .5e-3", Ok(&[3]));
        check("CAST(Year AS decimal(9, 2)) > 1e+3 AND \"x;y\" <> 0xFF", Ok(&[1, 4]));
        check("CONVERT(varchar(max), Region) COLLATE Latin1_General_BIN2 LIKE '50!%' ESCAPE '!'", Ok(&[0]));
        check("CASE WHEN (Year = 1) THEN 1 ELSE 0 END = 1 AND NOT (Year % 2 = 0)", Ok(&[1]));
        check("1 = 1", Ok(&[]));
    }

    #[test]
    fn what_reaches_beyond_it_is_refused_by_name() {
        check("Year > YEAR(GETDATE())", Err("GETDATE()"));
        check("date > CURRENT_TIMESTAMP", Err("\"CURRENT_TIMESTAMP\""));
        check("NEWID() IS NOT NULL", Err("NEWID()"));
        check("Year > RAND() * 10", Err("RAND()"));
        check("EXISTS (SELECT 1)", Err("EXISTS"));
        check("Year IN (SELECT y FROM t)", Err("SELECT"));
        check("dbo.f(Year) = 1", Err("several parts"));
        check("[dbo].[f](Year) = 1", Err("several parts"));
        check("Year.Year = 1", Err("several parts"));
        check("Year > @@DBTS", Err("variable"));
        check("Other = 1", Err("\"Other\""));
        check("[Year](1) = 1 OR OPENROWSET(1) = 1", Err("OPENROWSET()"));
        check("day = 1", Err("\"day\""));
    }

    #[test]
    fn it_cannot_leave_its_parentheses() {
        check("1 = 1) OR (1 = 1", Err("\")\" too many"));
        check("(1 = 1", Err("\"(\" too many"));
        check("1 = 1; DROP TABLE t", Err("\";\""));
        check("1 = 1) DROP TABLE t --", Err("comment"));
        check("1 = 1 DROP TABLE t", Err("\"DROP\""));
        check("1 = 1 /* ( */", Err("comment"));
        check("Region = 'x", Err("no end"));
        check("[Region = 1", Err("no end"));
        check("Region = {fn NOW()}", Err("character"));
        check("Region = 'a'\u{0}", Err("character"));
        check("Year = 1UNION", Err("runs into a word"));
        check("Year = 0x1g", Err("runs into a word"));
        check("", Err("empty"));
        check(" \n", Err("empty"));
        check(&format!("Region = '{}'", "x".repeat(4_000)), Err("longer"));
    }
}
