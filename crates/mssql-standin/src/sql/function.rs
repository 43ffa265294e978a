//! Functions of one row: their types, and what they give.

use logferry_model::SqlType;

use super::bind::{Binder, cast, common_of};
use super::catalog;
use super::convert::convert;
use super::error::{Result, SqlError, overflow};
use super::eval::Ctx;
use super::plan::{Node, Typed};
use super::time::{self, Moment, date_of, days_in, days_of};
use super::types::{self, is_bytes, is_text};
use super::value::{DAY_TICKS, Dec, Value, div_round, fold, pow10, trimmed};

macro_rules! functions {
    ($($variant:ident $name:literal $least:literal $most:literal),* $(,)?) => {
        /// A function.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Func { $($variant),* }

        /// Name, least and most arguments.
        const FUNCTIONS: &[(&str, Func, usize, usize)] = &[$(($name, Func::$variant, $least, $most)),*];
    };
}

functions! {
    IsNull "ISNULL" 2 2, Coalesce "COALESCE" 2 99, NullIf "NULLIF" 2 2, Choose "CHOOSE" 2 99,
    Len "LEN" 1 1, DataLength "DATALENGTH" 1 1, Substring "SUBSTRING" 3 3, Left "LEFT" 2 2, Right "RIGHT" 2 2,
    Upper "UPPER" 1 1, Lower "LOWER" 1 1, LTrim "LTRIM" 1 1, RTrim "RTRIM" 1 1, Trim "TRIM" 1 1, Replace "REPLACE" 3 3,
    CharIndex "CHARINDEX" 2 3, PatIndex "PATINDEX" 2 2, Concat "CONCAT" 2 99, ConcatWs "CONCAT_WS" 3 99, Replicate "REPLICATE" 2 2,
    Space "SPACE" 1 1, Reverse "REVERSE" 1 1, Stuff "STUFF" 4 4, Ascii "ASCII" 1 1, Unicode "UNICODE" 1 1, Char "CHAR" 1 1,
    NChar "NCHAR" 1 1, QuoteName "QUOTENAME" 1 2, Str "STR" 1 3, BinaryCollation "$BINARY_COLLATION" 1 1,
    Abs "ABS" 1 1, Round "ROUND" 2 3, Floor "FLOOR" 1 1, Ceiling "CEILING" 1 1, Sign "SIGN" 1 1, Power "POWER" 2 2,
    Sqrt "SQRT" 1 1, Exp "EXP" 1 1, Log "LOG" 1 1, Pi "PI" 0 0, Rand "RAND" 0 1, Checksum "CHECKSUM" 1 99,
    IsNumeric "ISNUMERIC" 1 1, IsDate "ISDATE" 1 1,
    GetDate "GETDATE" 0 0, CurrentTimestamp "CURRENT_TIMESTAMP" 0 0, GetUtcDate "GETUTCDATE" 0 0, SysDateTime "SYSDATETIME" 0 0,
    SysUtcDateTime "SYSUTCDATETIME" 0 0, SysDateTimeOffset "SYSDATETIMEOFFSET" 0 0,
    DateAdd "DATEADD" 3 3, DateDiff "DATEDIFF" 3 3, DateDiffBig "DATEDIFF_BIG" 3 3, DatePart "DATEPART" 2 2, DateName "DATENAME" 2 2,
    Year "YEAR" 1 1, Month "MONTH" 1 1, Day "DAY" 1 1, EoMonth "EOMONTH" 1 1, DateFromParts "DATEFROMPARTS" 3 3,
    NewId "NEWID" 0 0, NewSequentialId "NEWSEQUENTIALID" 0 0,
    DbName "DB_NAME" 0 1, DbId "DB_ID" 0 1, SchemaName "SCHEMA_NAME" 0 1, SchemaId "SCHEMA_ID" 0 1, ObjectId "OBJECT_ID" 1 2,
    ObjectName "OBJECT_NAME" 1 2, ObjectSchemaName "OBJECT_SCHEMA_NAME" 1 2, ColumnProperty "COLUMNPROPERTY" 3 3,
    ObjectProperty "OBJECTPROPERTY" 2 2, ObjectPropertyEx "OBJECTPROPERTYEX" 2 2, TypeName "TYPE_NAME" 1 1, TypeId "TYPE_ID" 1 1, ColName "COL_NAME" 2 2,
    ColLength "COL_LENGTH" 2 2, ServerProperty "SERVERPROPERTY" 1 1, DatabasePropertyEx "DATABASEPROPERTYEX" 2 2,
    IndexProperty "INDEXPROPERTY" 3 3, CollationProperty "COLLATIONPROPERTY" 2 2, HasPerms "HAS_PERMS_BY_NAME" 3 5, HasDbAccess "HAS_DBACCESS" 1 1,
    IsSrvRoleMember "IS_SRVROLEMEMBER" 1 2, IsMember "IS_MEMBER" 1 1, IsRoleMember "IS_ROLEMEMBER" 1 2,
    SuserSname "SUSER_SNAME" 0 1, SuserName "SUSER_NAME" 0 1, SystemUser "SYSTEM_USER" 0 0, OriginalLogin "ORIGINAL_LOGIN" 0 0,
    UserName "USER_NAME" 0 1, CurrentUser "CURRENT_USER" 0 0, SessionUser "SESSION_USER" 0 0, User "USER" 0 0,
    UserId "USER_ID" 0 1, SuserId "SUSER_ID" 0 1, HostName "HOST_NAME" 0 0, AppName "APP_NAME" 0 0, SessionProperty "SESSIONPROPERTY" 1 1,
    ScopeIdentity "SCOPE_IDENTITY" 0 0, IdentCurrent "IDENT_CURRENT" 1 1, IdentSeed "IDENT_SEED" 1 1, IdentIncr "IDENT_INCR" 1 1,
    XactState "XACT_STATE" 0 0, ErrorNumber "ERROR_NUMBER" 0 0, ErrorMessage "ERROR_MESSAGE" 0 0, ErrorSeverity "ERROR_SEVERITY" 0 0,
    ErrorState "ERROR_STATE" 0 0, ErrorLine "ERROR_LINE" 0 0, ErrorProcedure "ERROR_PROCEDURE" 0 0,
    AtVersion "@@VERSION" 0 0, AtSpid "@@SPID" 0 0, AtTranCount "@@TRANCOUNT" 0 0, AtRowCount "@@ROWCOUNT" 0 0, RowCountBig "ROWCOUNT_BIG" 0 0,
    AtIdentity "@@IDENTITY" 0 0, AtError "@@ERROR" 0 0, AtServerName "@@SERVERNAME" 0 0, AtServiceName "@@SERVICENAME" 0 0,
    AtLanguage "@@LANGUAGE" 0 0, AtDateFirst "@@DATEFIRST" 0 0, AtMaxPrecision "@@MAX_PRECISION" 0 0, AtLockTimeout "@@LOCK_TIMEOUT" 0 0,
    AtOptions "@@OPTIONS" 0 0, AtMicrosoftVersion "@@MICROSOFTVERSION" 0 0, AtTextSize "@@TEXTSIZE" 0 0, AtNestLevel "@@NESTLEVEL" 0 0, AtDbts "@@DBTS" 0 0,
}

impl Func {
    /// Whether it gives the same for the whole statement.
    pub fn is_steady(self) -> bool {
        !matches!(self, Func::NewId | Func::NewSequentialId | Func::Rand)
    }
}

/// A function of this name with these arguments.
pub(crate) fn bind(b: &Binder<'_>, name: &str, mut args: Vec<Typed>) -> Result<Typed> {
    let upper = name.to_ascii_uppercase();
    let Some((_, func, least, most)) = FUNCTIONS.iter().find(|(n, ..)| *n == upper) else {
        if upper.starts_with("@@") {
            return Err(SqlError::batch(137, format!("Must declare the scalar variable \"{name}\".")).class(15));
        }
        return Err(SqlError::batch(195, format!("'{name}' is not a recognized built-in function name."))
            .class(15)
            .state(10));
    };
    if !(*least..=*most).contains(&args.len()) {
        let lower = upper.to_lowercase();
        return Err(match least == most {
            true => super::bind_wrong_count(&lower, *least),
            false => {
                SqlError::batch(189, format!("The {lower} function requires {least} to {most} arguments.")).class(15)
            }
        });
    }
    let func = *func;
    let (int, bigint) = (SqlType::Int, SqlType::BigInt);
    let numeric = |ty: &SqlType| if is_text(ty) { SqlType::Float } else { ty.clone() };
    // Text of an argument, its kind kept.
    let texts = |args: &mut Vec<Typed>, which: &[usize]| {
        for at in which {
            if let Some(a) = args.get_mut(*at)
                && !is_text(&a.ty)
            {
                let to = types::varchar(types::char_len(&a.ty).unwrap_or(8000));
                let old = std::mem::replace(a, Typed::constant(SqlType::Int, Value::Null));
                *a = cast(old, &to);
            }
        }
    };
    let ints = |args: &mut Vec<Typed>, which: &[usize]| {
        for at in which {
            if let Some(a) = args.get_mut(*at) {
                let old = std::mem::replace(a, Typed::constant(SqlType::Int, Value::Null));
                *a = cast(old, &SqlType::Int);
            }
        }
    };
    let like_text = |ty: &SqlType, length: Option<u16>| {
        let collation = crate::storage::DEFAULT_COLLATION;
        if types::is_national(ty) {
            SqlType::NVarChar { length: length.map(|n| n.clamp(1, 4000)), collation }
        } else {
            SqlType::VarChar { length: length.map(|n| n.clamp(1, 8000)), collation }
        }
    };
    let first = args.first().map_or(SqlType::Int, |a| a.ty.clone());
    use Func as F;
    let ty = match func {
        F::IsNull => {
            let to = if args[0].is_null_word() { args[1].ty.clone() } else { first };
            args = args.into_iter().map(|a| cast(a, &to)).collect();
            to
        }
        F::Coalesce => {
            let to = common_of(&args)?;
            args = args.into_iter().map(|a| cast(a, &to)).collect();
            to
        }
        F::NullIf => {
            let to = common_of(&args)?;
            let kept = first.clone();
            let other = cast(args.remove(1), &to);
            let own = args.remove(0);
            let test = super::bind_comparison(super::ast::CmpOp::Eq, own.clone(), other)?;
            let null = Typed::constant(kept.clone(), Value::Null);
            return Ok(Typed::new(kept, Node::Case(vec![(test, null)], Some(Box::new(own)))));
        }
        F::Choose => {
            let to = common_of(args.iter().skip(1))?;
            args = args.into_iter().enumerate().map(|(at, a)| cast(a, if at == 0 { &int } else { &to })).collect();
            to
        }
        F::Len | F::Ascii | F::Unicode => {
            texts(&mut args, &[0]);
            if types::char_len(&args[0].ty).is_none() && func == F::Len { bigint } else { int }
        }
        F::DataLength => {
            if types::char_len(&first).is_none() {
                bigint
            } else {
                int
            }
        }
        F::Substring if is_bytes(&first) => {
            ints(&mut args, &[1, 2]);
            SqlType::VarBinary { length: types::char_len(&first) }
        }
        F::Substring | F::Left | F::Right => {
            texts(&mut args, &[0]);
            ints(&mut args, &[1, 2]);
            let count = match args.last().map(|a| &a.node) {
                Some(Node::Const(Value::Int(n))) if (0..=8000).contains(n) => Some(*n as u16),
                _ => None,
            };
            let length = match (types::char_len(&args[0].ty), count) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (Some(a), None) | (None, Some(a)) => Some(a),
                (None, None) => None,
            };
            like_text(&args[0].ty, length)
        }
        F::Upper | F::Lower | F::LTrim | F::RTrim | F::Trim | F::Reverse => {
            texts(&mut args, &[0]);
            like_text(&args[0].ty, types::char_len(&args[0].ty))
        }
        F::Replace | F::Stuff => {
            let which: &[usize] = if func == F::Stuff { &[0, 3] } else { &[0, 1, 2] };
            texts(&mut args, which);
            if func == F::Stuff {
                ints(&mut args, &[1, 2]);
            }
            let national = which.iter().any(|at| types::is_national(&args[*at].ty));
            let of = if national { types::nvarchar(1) } else { types::varchar(1) };
            like_text(&of, types::char_len(&args[0].ty).map(|_| 8000))
        }
        F::CharIndex | F::PatIndex => {
            texts(&mut args, &[0, 1]);
            ints(&mut args, &[2]);
            if types::char_len(&args[1].ty).is_none() { bigint } else { int }
        }
        F::Concat | F::ConcatWs => {
            let all: Vec<usize> = (0..args.len()).collect();
            let national = args.iter().any(|a| types::is_national(&a.ty));
            let max = args.iter().any(|a| is_text(&a.ty) && types::char_len(&a.ty).is_none());
            texts(&mut args, &all);
            let of = if national { types::nvarchar(1) } else { types::varchar(1) };
            let sum: u32 = args.iter().map(|a| u32::from(types::char_len(&a.ty).unwrap_or(8000))).sum();
            like_text(&of, (!max).then_some(sum.min(8000) as u16))
        }
        F::Replicate => {
            texts(&mut args, &[0]);
            ints(&mut args, &[1]);
            like_text(&args[0].ty, types::char_len(&args[0].ty).map(|_| 8000))
        }
        F::Space => {
            ints(&mut args, &[0]);
            types::varchar(8000)
        }
        F::Char => {
            ints(&mut args, &[0]);
            SqlType::Char { length: 1, collation: crate::storage::DEFAULT_COLLATION }
        }
        F::NChar => {
            ints(&mut args, &[0]);
            SqlType::NChar { length: 1, collation: crate::storage::DEFAULT_COLLATION }
        }
        F::QuoteName => {
            texts(&mut args, &[0, 1]);
            types::nvarchar(258)
        }
        F::Str => {
            args = args
                .into_iter()
                .enumerate()
                .map(|(at, a)| cast(a, if at == 0 { &SqlType::Float } else { &int }))
                .collect();
            types::varchar(100)
        }
        F::BinaryCollation => {
            // UTF-16 units, most significant byte first, sort as the code points of the BMP do.
            texts(&mut args, &[0]);
            SqlType::VarBinary { length: None }
        }
        F::Abs | F::Floor | F::Ceiling | F::Sign | F::Round => {
            let to = numeric(&first);
            let to = if to == SqlType::Real { SqlType::Float } else { to };
            let to = match to {
                SqlType::Bit | SqlType::TinyInt | SqlType::SmallInt => SqlType::Int,
                SqlType::SmallMoney => SqlType::Money,
                other => other,
            };
            args = args.into_iter().enumerate().map(|(at, a)| cast(a, if at == 0 { &to } else { &int })).collect();
            match (&to, func) {
                (SqlType::Decimal { precision, .. }, F::Floor | F::Ceiling) => {
                    SqlType::Decimal { precision: *precision, scale: 0 }
                }
                _ => to,
            }
        }
        F::Power => {
            let to = match numeric(&first) {
                SqlType::Bit | SqlType::TinyInt | SqlType::SmallInt => SqlType::Int,
                SqlType::Real => SqlType::Float,
                other => other,
            };
            args = args.into_iter().map(|a| cast(a, &SqlType::Float)).collect();
            to
        }
        F::Sqrt | F::Exp | F::Log => {
            args = args.into_iter().map(|a| cast(a, &SqlType::Float)).collect();
            SqlType::Float
        }
        F::Pi | F::Rand => SqlType::Float,
        F::Checksum | F::IsNumeric | F::IsDate => int,
        F::GetDate | F::CurrentTimestamp | F::GetUtcDate => SqlType::DateTime,
        F::SysDateTime | F::SysUtcDateTime => SqlType::DateTime2 { scale: 7 },
        F::SysDateTimeOffset => SqlType::DateTimeOffset { scale: 7 },
        F::DateAdd | F::DateDiff | F::DateDiffBig | F::DatePart | F::DateName => {
            let part = match &args[0].node {
                Node::Const(v) => v.as_text().unwrap_or_default(),
                _ => String::new(),
            };
            let name = upper.to_lowercase();
            let Some(known) = part_of(&part) else {
                return Err(SqlError::batch(155, format!("'{part}' is not a recognized {name} option.")).class(15));
            };
            args[0] = Typed::constant(int.clone(), Value::Int(known as i64));
            for at in if func == F::DateAdd { 2..3 } else { 1..args.len() } {
                let a = std::mem::replace(&mut args[at], Typed::constant(SqlType::Int, Value::Null));
                let to = match () {
                    () if is_text(&a.ty) && func == F::DateAdd => SqlType::DateTime,
                    () if is_text(&a.ty) => SqlType::DateTimeOffset { scale: 7 },
                    () if types::is_time(&a.ty) => a.ty.clone(),
                    () => SqlType::DateTime,
                };
                args[at] = cast(a, &to);
            }
            match func {
                F::DateAdd => {
                    let n = args.remove(1);
                    args.insert(1, cast(n, &bigint));
                    args[2].ty.clone()
                }
                F::DateDiffBig => bigint,
                F::DateName => types::nvarchar(30),
                _ => int,
            }
        }
        F::Year | F::Month | F::Day | F::EoMonth => {
            let a = args.remove(0);
            let to = if types::is_time(&a.ty) {
                a.ty.clone()
            } else if is_text(&a.ty) {
                SqlType::DateTime2 { scale: 7 }
            } else {
                SqlType::DateTime
            };
            args.push(cast(a, &to));
            if func == F::EoMonth { SqlType::Date } else { int }
        }
        F::DateFromParts => {
            ints(&mut args, &[0, 1, 2]);
            SqlType::Date
        }
        F::NewId | F::NewSequentialId => SqlType::UniqueIdentifier,
        F::DbName | F::SchemaName | F::ObjectName | F::ObjectSchemaName | F::TypeName | F::ColName => {
            ints(&mut args, if func == F::ColName { &[0, 1] } else { &[0] });
            types::sysname()
        }
        F::DbId | F::SchemaId => {
            texts(&mut args, &[0]);
            if func == F::DbId { SqlType::SmallInt } else { int }
        }
        F::ObjectId | F::TypeId | F::ColLength => {
            texts(&mut args, &[0, 1]);
            if func == F::ColLength { SqlType::SmallInt } else { int }
        }
        F::ColumnProperty | F::ObjectProperty | F::ObjectPropertyEx | F::IndexProperty => {
            ints(&mut args, &[0]);
            texts(&mut args, &[1, 2]);
            if func == F::ObjectPropertyEx { SqlType::Variant } else { int }
        }
        F::ServerProperty | F::DatabasePropertyEx | F::CollationProperty | F::SessionProperty => {
            texts(&mut args, &[0, 1]);
            SqlType::Variant
        }
        F::HasPerms | F::HasDbAccess | F::IsSrvRoleMember | F::IsMember | F::IsRoleMember => {
            let all: Vec<usize> = (0..args.len()).collect();
            texts(&mut args, &all);
            int
        }
        F::SuserSname
        | F::SuserName
        | F::SystemUser
        | F::OriginalLogin
        | F::UserName
        | F::CurrentUser
        | F::SessionUser
        | F::User
        | F::HostName
        | F::AppName => types::sysname(),
        F::UserId | F::SuserId => int,
        F::ScopeIdentity | F::IdentCurrent | F::IdentSeed | F::IdentIncr | F::AtIdentity => {
            SqlType::Decimal { precision: 38, scale: 0 }
        }
        F::XactState | F::AtSpid => SqlType::SmallInt,
        F::ErrorNumber
        | F::ErrorSeverity
        | F::ErrorState
        | F::ErrorLine
        | F::AtTranCount
        | F::AtRowCount
        | F::AtError
        | F::AtLockTimeout
        | F::AtOptions
        | F::AtMicrosoftVersion
        | F::AtTextSize
        | F::AtNestLevel => int,
        F::RowCountBig => bigint,
        F::AtDateFirst | F::AtMaxPrecision => SqlType::TinyInt,
        F::AtDbts => SqlType::VarBinary { length: Some(8) },
        F::ErrorMessage => types::nvarchar(4000),
        F::ErrorProcedure => types::sysname(),
        F::AtVersion => types::nvarchar(300),
        F::AtServerName | F::AtServiceName | F::AtLanguage => types::sysname(),
    };
    let _ = b;
    Ok(Typed::new(ty, Node::Func(func, args)))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum DatePart {
    Year,
    Quarter,
    Month,
    DayOfYear,
    Day,
    Week,
    WeekDay,
    Hour,
    Minute,
    Second,
    Millisecond,
    Microsecond,
    Nanosecond,
    IsoWeek,
    TzOffset,
}

const PARTS: &[(DatePart, &[&str])] = &[
    (DatePart::Year, &["year", "yy", "yyyy"]),
    (DatePart::Quarter, &["quarter", "qq", "q"]),
    (DatePart::Month, &["month", "mm", "m"]),
    (DatePart::DayOfYear, &["dayofyear", "dy", "y"]),
    (DatePart::Day, &["day", "dd", "d"]),
    (DatePart::Week, &["week", "wk", "ww"]),
    (DatePart::WeekDay, &["weekday", "dw", "w"]),
    (DatePart::Hour, &["hour", "hh"]),
    (DatePart::Minute, &["minute", "mi", "n"]),
    (DatePart::Second, &["second", "ss", "s"]),
    (DatePart::Millisecond, &["millisecond", "ms"]),
    (DatePart::Microsecond, &["microsecond", "mcs"]),
    (DatePart::Nanosecond, &["nanosecond", "ns"]),
    (DatePart::IsoWeek, &["iso_week", "isowk", "isoww"]),
    (DatePart::TzOffset, &["tzoffset", "tz"]),
];

fn part_of(name: &str) -> Option<usize> {
    PARTS.iter().position(|(_, names)| names.iter().any(|n| n.eq_ignore_ascii_case(name)))
}

fn units(v: &Value) -> &[u16] {
    match v {
        Value::Text(t) => t,
        _ => &[],
    }
}

fn slice_of<T: Clone>(list: &[T], start: i64, count: i64) -> Vec<T> {
    // Places before the first count too.
    let end = (start + count).clamp(1, list.len() as i64 + 1);
    let start = start.clamp(1, list.len() as i64 + 1);
    list.get(start as usize - 1..(end.max(start)) as usize - 1).unwrap_or_default().to_vec()
}

fn map_case(text: &[u16], upper: bool) -> Vec<u16> {
    text.iter()
        .map(|u| {
            let Some(c) = char::from_u32(u32::from(*u)) else { return *u };
            let mut mapped: Vec<char> = if upper { c.to_uppercase().collect() } else { c.to_lowercase().collect() };
            match (mapped.pop(), mapped.is_empty()) {
                (Some(c), true) => u16::try_from(u32::from(c)).unwrap_or(*u),
                _ => *u,
            }
        })
        .collect()
}

fn position(needle: &[u16], hay: &[u16], from: usize) -> Option<usize> {
    if needle.is_empty() {
        return None;
    }
    let folded: Vec<u16> = needle.iter().map(|u| fold(*u)).collect();
    hay.get(from..)?
        .windows(folded.len())
        .position(|w| w.iter().zip(&folded).all(|(a, b)| fold(*a) == *b))
        .map(|at| at + from)
}

fn text_at(values: &[Value], at: usize) -> String {
    values.get(at).and_then(Value::as_text).unwrap_or_default()
}

fn int_at(values: &[Value], at: usize) -> i64 {
    values.get(at).and_then(Value::as_int).unwrap_or(0)
}

fn splitmix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ z >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ z >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ z >> 31
}

/// A random number that is another one at every call.
fn random(ctx: &Ctx<'_>) -> u64 {
    let mut variables = ctx.variables.borrow_mut();
    let counter =
        variables.entry("\u{0}random".into()).or_insert((SqlType::BigInt, Value::Int(ctx.scalars.seed as i64)));
    let n = counter.1.as_int().unwrap_or(0).wrapping_add(1);
    counter.1 = Value::Int(n);
    splitmix(n as u64)
}

/// What a function gives. NULL among the arguments gives NULL, but for those that say otherwise.
pub(crate) fn call(func: Func, v: Vec<Value>, args: &[Typed], ty: &SqlType, ctx: &Ctx<'_>) -> Result<Value> {
    use Func as F;
    let s = ctx.scalars;
    let takes_null = matches!(
        func,
        F::IsNull
            | F::Concat
            | F::ConcatWs
            | F::Choose
            | F::Checksum
            | F::HasPerms
            | F::DbName
            | F::DbId
            | F::SchemaName
            | F::SchemaId
            | F::Stuff
            | F::IsSrvRoleMember
            | F::IsNumeric
            | F::IsDate
    );
    if !takes_null && v.iter().any(Value::is_null) {
        return Ok(Value::Null);
    }
    let (days, ticks) = s.now;
    let number = |n: Option<i128>| n.map_or(Value::Null, |n| Value::Dec(Dec { mantissa: n, scale: 0 }));
    Ok(match func {
        F::IsNull => match v.first() {
            Some(Value::Null) | None => v.into_iter().nth(1).unwrap_or(Value::Null),
            _ => v.into_iter().next().unwrap_or(Value::Null),
        },
        F::Coalesce | F::NullIf => v.into_iter().find(|v| !v.is_null()).unwrap_or(Value::Null),
        F::Choose => {
            let at = int_at(&v, 0);
            if at < 1 { Value::Null } else { v.into_iter().nth(at as usize).unwrap_or(Value::Null) }
        }
        F::Len => Value::Int(trimmed(units(&v[0])).len() as i64),
        F::DataLength => {
            let bytes = super::value::to_bytes(&args[0].ty, &v[0])?.unwrap_or_default();
            Value::Int(bytes.len() as i64)
        }
        F::Substring => {
            let (start, count) = (int_at(&v, 1), int_at(&v, 2));
            if count < 0 {
                return Err(SqlError::new(537, "Invalid length parameter passed to the LEFT or SUBSTRING function."));
            }
            match &v[0] {
                Value::Bytes(b) => Value::Bytes(slice_of(b, start, count)),
                other => Value::Text(slice_of(units(other), start, count)),
            }
        }
        F::Left | F::Right => {
            let (text, n) = (units(&v[0]), int_at(&v, 1));
            if n < 0 {
                return Err(SqlError::new(536, "Invalid length parameter passed to the LEFT or RIGHT function."));
            }
            let n = (n as usize).min(text.len());
            let part = if func == F::Left { text.get(..n) } else { text.get(text.len() - n..) };
            Value::Text(part.unwrap_or_default().to_vec())
        }
        F::Upper | F::Lower => Value::Text(map_case(units(&v[0]), func == F::Upper)),
        F::LTrim | F::RTrim | F::Trim => {
            let text = units(&v[0]);
            let start = if func == F::RTrim { 0 } else { text.iter().position(|u| *u != 0x20).unwrap_or(text.len()) };
            let text = text.get(start..).unwrap_or_default();
            Value::Text(if func == F::LTrim { text.to_vec() } else { trimmed(text).to_vec() })
        }
        F::Reverse => Value::Text(units(&v[0]).iter().rev().copied().collect()),
        F::Replace => {
            let (text, from, to) = (units(&v[0]), units(&v[1]), units(&v[2]));
            let (mut out, mut at) = (Vec::new(), 0);
            while let Some(found) = position(from, text, at) {
                out.extend_from_slice(text.get(at..found).unwrap_or_default());
                out.extend_from_slice(to);
                at = found + from.len();
            }
            out.extend_from_slice(text.get(at..).unwrap_or_default());
            Value::Text(out)
        }
        F::Stuff => {
            if v[0].is_null() || v[1].is_null() || v[2].is_null() {
                return Ok(Value::Null);
            }
            let (text, start, count) = (units(&v[0]), int_at(&v, 1), int_at(&v, 2));
            if start < 1 || count < 0 || start as usize > text.len() {
                return Ok(Value::Null);
            }
            let start = start as usize - 1;
            let end = (start + count as usize).min(text.len());
            let mut out = text.get(..start).unwrap_or_default().to_vec();
            out.extend_from_slice(units(&v[3]));
            out.extend_from_slice(text.get(end..).unwrap_or_default());
            Value::Text(out)
        }
        F::CharIndex => {
            let from = int_at(&v, 2).max(1) as usize - 1;
            Value::Int(position(units(&v[0]), units(&v[1]), from).map_or(0, |at| at as i64 + 1))
        }
        F::PatIndex => {
            let (pattern, text) = (units(&v[0]), units(&v[1]));
            let percent = u16::from(b'%');
            let body = pattern.strip_prefix(&[percent]);
            match body {
                None => Value::Int(i64::from(super::eval::like(text, pattern, None))),
                Some(body) => Value::Int(
                    (0..text.len())
                        .find(|at| super::eval::like(text.get(*at..).unwrap_or_default(), body, None))
                        .map_or(0, |at| at as i64 + 1),
                ),
            }
        }
        F::Concat => Value::Text(v.iter().flat_map(|v| units(v).iter().copied()).collect()),
        F::ConcatWs => {
            let mut out = Vec::new();
            for (n, part) in v.iter().skip(1).filter(|v| !v.is_null()).enumerate() {
                if n > 0 {
                    out.extend_from_slice(units(&v[0]));
                }
                out.extend_from_slice(units(part));
            }
            Value::Text(out)
        }
        F::Replicate => match int_at(&v, 1) {
            n if n < 0 => Value::Null,
            n => {
                let limit = types::char_len(ty).map_or(64 << 20, usize::from);
                Value::Text(
                    units(&v[0]).iter().copied().cycle().take((units(&v[0]).len() * n as usize).min(limit)).collect(),
                )
            }
        },
        F::Space => match int_at(&v, 0) {
            n if n < 0 => Value::Null,
            n => Value::Text(vec![0x20; (n as usize).min(8000)]),
        },
        F::Ascii => match super::value::to_1252(units(&v[0])).first() {
            Some(b) => Value::Int(i64::from(*b)),
            None => Value::Null,
        },
        F::Unicode => units(&v[0]).first().map_or(Value::Null, |u| Value::Int(i64::from(*u))),
        F::Char => match u8::try_from(int_at(&v, 0)) {
            Ok(b) => super::value::from_bytes(ty, &[b]),
            Err(_) => Value::Null,
        },
        F::NChar => u16::try_from(int_at(&v, 0)).map_or(Value::Null, |u| Value::Text(vec![u])),
        F::QuoteName => {
            let text = text_at(&v, 0);
            let quote = v.get(1).and_then(Value::as_text).unwrap_or_else(|| "[".into());
            match quote.as_str() {
                "[" | "]" | "[]" => Value::text(&format!("[{}]", text.replace(']', "]]"))),
                "'" => Value::text(&format!("'{}'", text.replace('\'', "''"))),
                "\"" => Value::text(&format!("\"{}\"", text.replace('"', "\"\""))),
                _ => Value::Null,
            }
        }
        F::Str => {
            let Value::Float(f) = v[0] else { return Ok(Value::Null) };
            let (length, digits) =
                (v.get(1).and_then(Value::as_int).unwrap_or(10).max(0) as usize, int_at(&v, 2).clamp(0, 16) as usize);
            let text = format!("{f:>length$.digits$}");
            Value::text(&if text.len() > length { "*".repeat(length) } else { text })
        }
        F::BinaryCollation => Value::Bytes(trimmed(units(&v[0])).iter().flat_map(|u| u.to_be_bytes()).collect()),
        F::Abs | F::Floor | F::Ceiling | F::Sign | F::Round => rounding(func, &v, args, ty)?,
        F::Power => {
            let (Value::Float(a), Value::Float(b)) = (&v[0], &v[1]) else { return Ok(Value::Null) };
            let f = a.powf(*b);
            match ty {
                SqlType::Int if f.abs() > f64::from(i32::MAX) => {
                    return Err(
                        SqlError::new(232, format!("Arithmetic overflow error for type int, value = {f:.6}.")).state(3)
                    );
                }
                SqlType::Int | SqlType::BigInt => Value::Int(f as i64),
                _ => convert(Value::Float(f), &SqlType::Float, ty, None)?,
            }
        }
        F::Sqrt | F::Exp | F::Log => {
            let Value::Float(f) = v[0] else { return Ok(Value::Null) };
            if func == F::Sqrt && f < 0.0 || func == F::Log && f <= 0.0 {
                return Err(SqlError::new(3623, "An invalid floating point operation occurred."));
            }
            Value::Float(match func {
                F::Sqrt => f.sqrt(),
                F::Exp => f.exp(),
                _ => f.ln(),
            })
        }
        F::Pi => Value::Float(std::f64::consts::PI),
        F::Rand => Value::Float((random(ctx) >> 11) as f64 / (1u64 << 53) as f64),
        F::Checksum => {
            let mut key = Vec::new();
            v.iter().for_each(|v| super::value::group_key(v, &mut key));
            let hash = key.iter().fold(0x811C_9DC5u32, |h, b| (h ^ u32::from(*b)).wrapping_mul(0x0100_0193));
            Value::Int(i64::from(hash as i32))
        }
        F::IsNumeric => {
            let ok = match &v[0] {
                Value::Text(_) => {
                    convert(v[0].clone(), &types::nvarchar(4000), &SqlType::Float, None).is_ok()
                        && !trimmed(units(&v[0])).is_empty()
                }
                Value::Null => false,
                other => matches!(other, Value::Int(_) | Value::Dec(_) | Value::Money(_) | Value::Float(_)),
            };
            Value::bit(ok)
        }
        F::IsDate => Value::bit(match &v[0] {
            Value::Text(_) => convert(v[0].clone(), &types::nvarchar(4000), &SqlType::DateTime, None).is_ok(),
            other => matches!(other, Value::DateTime(..)),
        }),
        F::GetDate | F::CurrentTimestamp | F::GetUtcDate => {
            convert(Value::DateTime2(days, ticks), &SqlType::DateTime2 { scale: 7 }, &SqlType::DateTime, None)?
        }
        F::SysDateTime | F::SysUtcDateTime => Value::DateTime2(days, ticks),
        F::SysDateTimeOffset => Value::Offset(days, ticks, 0),
        F::DateAdd => date_add(int_at(&v, 0), int_at(&v, 1), &v[2], ty)?,
        F::DateDiff | F::DateDiffBig => {
            let n = date_diff(int_at(&v, 0), &v[1], &v[2]);
            if func == F::DateDiff && i32::try_from(n).is_err() {
                return Err(SqlError::new(
                    535,
                    "The datediff function resulted in an overflow. The number of dateparts separating two date/time instances is too large. Try to use datediff with a less precise datepart.",
                ));
            }
            Value::Int(n)
        }
        F::DatePart => Value::Int(date_part(int_at(&v, 0), &v[1])),
        F::DateName => {
            let part = int_at(&v, 0);
            let n = date_part(part, &v[1]);
            let kind = PARTS.get(part as usize).map(|p| p.0);
            Value::text(&match kind {
                Some(DatePart::Month) => [
                    "January",
                    "February",
                    "March",
                    "April",
                    "May",
                    "June",
                    "July",
                    "August",
                    "September",
                    "October",
                    "November",
                    "December",
                ]
                .get(n as usize - 1)
                .map_or(String::new(), ToString::to_string),
                Some(DatePart::WeekDay) => {
                    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
                        .get(n as usize - 1)
                        .map_or(String::new(), ToString::to_string)
                }
                _ => n.to_string(),
            })
        }
        F::Year | F::Month | F::Day | F::EoMonth => {
            let Some(m) = Moment::of(&v[0]) else { return Ok(Value::Null) };
            let (y, mo, d) = date_of(m.days);
            match func {
                F::Year => Value::Int(i64::from(y)),
                F::Month => Value::Int(i64::from(mo)),
                F::Day => Value::Int(i64::from(d)),
                _ => days_of(y, mo, days_in(y, mo)).map_or(Value::Null, Value::Date),
            }
        }
        F::DateFromParts => match days_of(int_at(&v, 0) as i32, int_at(&v, 1) as u32, int_at(&v, 2) as u32) {
            Some(d) => Value::Date(d),
            None => {
                return Err(SqlError::new(
                    289,
                    "Cannot construct data type date, some of the arguments have values which are not valid.",
                ));
            }
        },
        F::NewId | F::NewSequentialId => {
            let mut g = [0; 16];
            g[..8].copy_from_slice(&random(ctx).to_le_bytes());
            g[8..].copy_from_slice(&random(ctx).to_le_bytes());
            g[7] = g[7] & 0x0F | 0x40;
            g[8] = g[8] & 0x3F | 0x80;
            Value::Guid(g)
        }
        F::ScopeIdentity | F::AtIdentity => number(s.identity),
        F::IdentCurrent | F::IdentSeed | F::IdentIncr => {
            let found = ctx.state.find_table(s, &split_name(&text_at(&v, 0))).ok().flatten();
            let identity = found.and_then(|t| ctx.state.db(t.database).meta(t.table).identity.clone());
            match (identity, func) {
                (Some(i), F::IdentCurrent) => number(Some(i.last.unwrap_or(1))),
                (Some(_), _) => number(Some(1)),
                (None, _) => Value::Null,
            }
        }
        F::XactState => Value::Int(i64::from(s.depth > 0)),
        F::ErrorNumber => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.number))),
        F::ErrorMessage => s.caught.as_ref().map_or(Value::Null, |e| Value::text(&e.message)),
        F::ErrorSeverity => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.class))),
        F::ErrorState => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.state))),
        F::ErrorLine => s.caught.as_ref().map_or(Value::Null, |e| Value::Int(i64::from(e.line))),
        F::ErrorProcedure => Value::Null,
        F::AtVersion => Value::text(catalog::VERSION_TEXT),
        F::AtSpid => Value::Int(i64::from(s.spid)),
        F::AtTranCount => Value::Int(i64::from(s.depth)),
        F::AtRowCount | F::RowCountBig => Value::Int(s.rowcount),
        F::AtError => Value::Int(i64::from(s.error)),
        F::AtServerName => Value::text(&ctx.state.server),
        F::AtServiceName => Value::text("MSSQLSERVER"),
        F::AtLanguage => Value::text("us_english"),
        F::AtDateFirst => Value::Int(7),
        F::AtMaxPrecision => Value::Int(38),
        F::AtLockTimeout => Value::Int(s.lock_timeout_ms.map_or(-1, |n| n as i64)),
        F::AtOptions => Value::Int(5496),
        F::AtMicrosoftVersion => Value::Int(0x0D00_0000 | 4001),
        F::AtTextSize => Value::Int(2_147_483_647),
        F::AtNestLevel => Value::Int(0),
        F::AtDbts => Value::Bytes(ctx.state.db(s.database).row_version.to_be_bytes().to_vec()),
        F::SuserSname | F::SuserName | F::SystemUser | F::OriginalLogin => Value::text(&s.login),
        F::UserName | F::CurrentUser | F::SessionUser | F::User => match v.first().and_then(Value::as_int) {
            None | Some(1) => Value::text("dbo"),
            Some(0) => Value::text("public"),
            Some(2) => Value::text("guest"),
            Some(_) => Value::Null,
        },
        F::UserId | F::SuserId => Value::Int(1),
        F::HostName => Value::text(&s.host),
        F::AppName => Value::text(&s.program),
        F::HasPerms | F::HasDbAccess => Value::Int(1),
        F::IsSrvRoleMember | F::IsMember | F::IsRoleMember => {
            let role = text_at(&v, 0).to_lowercase();
            let server = [
                "sysadmin",
                "serveradmin",
                "securityadmin",
                "processadmin",
                "setupadmin",
                "bulkadmin",
                "diskadmin",
                "dbcreator",
                "public",
            ];
            let database = [
                "db_owner",
                "public",
                "db_accessadmin",
                "db_securityadmin",
                "db_ddladmin",
                "db_backupoperator",
                "db_datareader",
                "db_datawriter",
            ];
            let known: &[&str] = if func == F::IsSrvRoleMember { &server } else { &database };
            if known.contains(&role.as_str()) {
                Value::Int(1)
            } else if ["db_denydatareader", "db_denydatawriter"].contains(&role.as_str()) {
                Value::Int(0)
            } else {
                Value::Null
            }
        }
        _ => catalog::property(func, &v, ctx)?,
    })
}

/// `[a].[b]`, `a.b` as parts.
pub(crate) fn split_name(text: &str) -> Vec<String> {
    let (mut parts, mut part, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.trim().chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, '[') => quote = Some(']'),
            (None, '"') => quote = Some('"'),
            (None, '.') => parts.push(std::mem::take(&mut part)),
            (Some(q), c) if c == q => {
                if chars.peek() == Some(&q) {
                    part.push(q);
                    chars.next();
                } else {
                    quote = None;
                }
            }
            (_, c) => part.push(c),
        }
    }
    parts.push(part);
    parts
}

fn rounding(func: Func, v: &[Value], args: &[Typed], ty: &SqlType) -> Result<Value> {
    use Func as F;
    let digits = int_at(v, 1);
    let cut = int_at(v, 2) != 0;
    Ok(match &v[0] {
        Value::Int(n) => Value::Int(match func {
            F::Abs if *n == i64::MIN || *ty == SqlType::Int && *n == i64::from(i32::MIN) => {
                return Err(overflow(types::name(ty)));
            }
            F::Abs => n.abs(),
            F::Sign => n.signum(),
            F::Round if digits < 0 => match pow10(digits.unsigned_abs().min(30) as u8) {
                Some(by) if cut => (i128::from(*n) / by * by) as i64,
                Some(by) => {
                    let rounded = div_round(i128::from(*n), by) * by;
                    if *ty == SqlType::Int && i32::try_from(rounded).is_err() {
                        return Err(overflow("int"));
                    }
                    rounded as i64
                }
                None => 0,
            },
            _ => *n,
        }),
        Value::Dec(d) => Value::Dec(decimal_rounding(func, *d, digits, cut)),
        Value::Money(m) => {
            let d = decimal_rounding(func, Dec { mantissa: i128::from(*m), scale: 4 }, digits, cut);
            Value::Money(d.rescale(4).map_or(0, |d| d.mantissa as i64))
        }
        Value::Float(f) => Value::Float(match func {
            F::Abs => f.abs(),
            F::Floor => f.floor(),
            F::Ceiling => f.ceil(),
            F::Sign if *f == 0.0 => 0.0,
            F::Sign => f.signum(),
            _ => {
                let by = 10f64.powi(digits.clamp(-300, 300) as i32);
                let scaled = f * by;
                (if cut { scaled.trunc() } else { scaled.round() }) / by
            }
        }),
        _ => {
            return Err(SqlError::batch(
                8116,
                format!("Argument data type {} is invalid for argument 1 of this function.", types::said(&args[0].ty)),
            ));
        }
    })
}

fn decimal_rounding(func: Func, d: Dec, digits: i64, cut: bool) -> Dec {
    use Func as F;
    let by = pow10(d.scale).unwrap_or(1);
    match func {
        F::Abs => Dec { mantissa: d.mantissa.abs(), ..d },
        F::Sign => Dec { mantissa: d.mantissa.signum() * by, ..d },
        F::Floor => Dec { mantissa: d.mantissa.div_euclid(by), scale: 0 },
        F::Ceiling => Dec { mantissa: -(-d.mantissa).div_euclid(by), scale: 0 },
        _ => {
            let drop = i64::from(d.scale) - digits;
            if drop <= 0 {
                return d;
            }
            match pow10(drop.min(38) as u8) {
                Some(by) if cut => Dec { mantissa: d.mantissa / by * by, ..d },
                Some(by) => Dec { mantissa: div_round(d.mantissa, by) * by, ..d },
                None => Dec { mantissa: 0, ..d },
            }
        }
    }
}

fn month_added(days: i32, months: i64) -> Option<i32> {
    let (y, m, d) = date_of(days);
    let total = i64::from(y) * 12 + i64::from(m) - 1 + months;
    let (y, m) = (i32::try_from(total.div_euclid(12)).ok()?, total.rem_euclid(12) as u32 + 1);
    days_of(y, m, d.min(days_in(y, m)))
}

fn date_add(part: i64, n: i64, value: &Value, ty: &SqlType) -> Result<Value> {
    let overflow =
        || SqlError::new(517, format!("Adding a value to a '{}' column caused an overflow.", types::name(ty)));
    let kind = PARTS.get(part as usize).map_or(DatePart::Day, |p| p.0);
    let m = Moment::of(value).ok_or_else(overflow)?;
    let months = |k: i64| -> Result<Moment> {
        let days = month_added(m.days, n.checked_mul(k).ok_or_else(overflow)?).ok_or_else(overflow)?;
        Ok(Moment { days, ..m })
    };
    let moved = match kind {
        DatePart::Year => months(12)?,
        DatePart::Quarter => months(3)?,
        DatePart::Month => months(1)?,
        kind => {
            let unit: i128 = match kind {
                DatePart::Week => 7 * i128::from(DAY_TICKS),
                DatePart::Hour => 36_000_000_000,
                DatePart::Minute => 600_000_000,
                DatePart::Second => 10_000_000,
                DatePart::Millisecond => 10_000,
                DatePart::Microsecond => 10,
                DatePart::Nanosecond => 0,
                DatePart::IsoWeek | DatePart::TzOffset => {
                    return Err(SqlError::batch(9810, "The datepart is not supported by date function dateadd."));
                }
                _ => i128::from(DAY_TICKS),
            };
            let delta = if kind == DatePart::Nanosecond { i128::from(n / 100) } else { unit * i128::from(n) };
            let total = i128::from(m.days) * i128::from(DAY_TICKS) + i128::from(m.ticks) + delta;
            let days = i32::try_from(total.div_euclid(i128::from(DAY_TICKS))).map_err(|_| overflow())?;
            Moment { days, ticks: total.rem_euclid(i128::from(DAY_TICKS)) as u64, ..m }
        }
    };
    if !matches!(ty, SqlType::Time { .. }) && !(0..=time::LAST_DAY).contains(&moved.days) {
        return Err(overflow());
    }
    let back = match moved.offset {
        Some(o) => {
            let (days, ticks) = time::shifted(moved.days, moved.ticks, -i64::from(o));
            Value::Offset(days, ticks, o)
        }
        None => Value::DateTime2(moved.days, moved.ticks),
    };
    match ty {
        SqlType::DateTimeOffset { .. } => Ok(back),
        SqlType::Time { .. } => Ok(Value::Time(moved.ticks)),
        ty => convert(back, &SqlType::DateTime2 { scale: 7 }, ty, None).map_err(|_| overflow()),
    }
}

fn date_diff(part: i64, a: &Value, b: &Value) -> i64 {
    let utc = |v: &Value| match v {
        Value::Offset(days, ticks, _) => Some(Moment { days: *days, ticks: *ticks, offset: None }),
        other => Moment::of(other),
    };
    let (Some(a), Some(b)) = (utc(a), utc(b)) else { return 0 };
    let ((ya, ma, _), (yb, mb, _)) = (date_of(a.days), date_of(b.days));
    let kind = PARTS.get(part as usize).map_or(DatePart::Day, |p| p.0);
    let per = |ticks: u64| {
        let at = |m: &Moment| i128::from(m.days) * i128::from(DAY_TICKS / ticks) + i128::from(m.ticks / ticks);
        (at(&b) - at(&a)) as i64
    };
    match kind {
        DatePart::Year => i64::from(yb - ya),
        DatePart::Quarter => i64::from((yb - ya) * 4) + i64::from((mb - 1) / 3) - i64::from((ma - 1) / 3),
        DatePart::Month => i64::from((yb - ya) * 12) + i64::from(mb) - i64::from(ma),
        // Weeks begin on Sunday; 0001-01-01 was a Monday.
        DatePart::Week | DatePart::IsoWeek => i64::from((b.days + 1).div_euclid(7) - (a.days + 1).div_euclid(7)),
        DatePart::Hour => per(36_000_000_000),
        DatePart::Minute => per(600_000_000),
        DatePart::Second => per(10_000_000),
        DatePart::Millisecond => per(10_000),
        DatePart::Microsecond => per(10),
        DatePart::Nanosecond => per(1).saturating_mul(100),
        _ => i64::from(b.days - a.days),
    }
}

fn date_part(part: i64, value: &Value) -> i64 {
    let Some(m) = Moment::of(value) else { return 0 };
    let (y, mo, d) = date_of(m.days);
    let first = days_of(y, 1, 1).unwrap_or(0);
    let seconds = m.ticks / 10_000_000;
    let part_ticks = (m.ticks % 10_000_000) as i64;
    match PARTS.get(part as usize).map_or(DatePart::Day, |p| p.0) {
        DatePart::Year => i64::from(y),
        DatePart::Quarter => i64::from((mo - 1) / 3 + 1),
        DatePart::Month => i64::from(mo),
        DatePart::DayOfYear => i64::from(m.days - first + 1),
        DatePart::Day => i64::from(d),
        DatePart::Week => i64::from((m.days + 1).div_euclid(7) - (first + 1).div_euclid(7) + 1),
        DatePart::WeekDay => i64::from((m.days + 1).rem_euclid(7) + 1),
        DatePart::Hour => (seconds / 3600) as i64,
        DatePart::Minute => (seconds / 60 % 60) as i64,
        DatePart::Second => (seconds % 60) as i64,
        DatePart::Millisecond => part_ticks / 10_000,
        DatePart::Microsecond => part_ticks / 10,
        DatePart::Nanosecond => part_ticks * 100,
        DatePart::IsoWeek => {
            // The week of its Thursday.
            let thursday = m.days - m.days.rem_euclid(7) + 3;
            let (year, ..) = date_of(thursday);
            i64::from((thursday - days_of(year, 1, 1).unwrap_or(0)) / 7 + 1)
        }
        DatePart::TzOffset => i64::from(m.offset.unwrap_or(0)),
    }
}
