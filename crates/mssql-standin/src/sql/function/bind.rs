//! Which function a name means, and the types of its arguments and of what it gives.

use super::FUNCTIONS;
use logferry_model::SqlType;

use super::super::bind::{Binder, cast, common_of};
use super::super::error::{Result, SqlError};
use super::super::plan::{Node, Typed};
use super::super::types::{self, is_bytes, is_text};
use super::super::value::Value;
use super::date::part_of;

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
            true => super::super::bind_wrong_count(&lower, *least),
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
        let collation = logferry_mssql_standin_storage::DEFAULT_COLLATION;
        if types::is_national(ty) {
            SqlType::NVarChar { length: length.map(|n| n.clamp(1, 4000)), collation }
        } else {
            SqlType::VarChar { length: length.map(|n| n.clamp(1, 8000)), collation }
        }
    };
    let first = args.first().map_or(SqlType::Int, |a| a.ty.clone());
    use super::Func as F;
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
            let test = super::super::bind_comparison(super::super::ast::CmpOp::Eq, own.clone(), other)?;
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
            SqlType::Char { length: 1, collation: logferry_mssql_standin_storage::DEFAULT_COLLATION }
        }
        F::NChar => {
            ints(&mut args, &[0]);
            SqlType::NChar { length: 1, collation: logferry_mssql_standin_storage::DEFAULT_COLLATION }
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
        F::ParseName => {
            texts(&mut args, &[0]);
            ints(&mut args, &[1]);
            types::sysname()
        }
        F::VariantProperty => {
            texts(&mut args, &[1]);
            args[0] = cast(args[0].clone(), &SqlType::Variant);
            SqlType::Variant
        }
        F::ConnectionProperty => {
            texts(&mut args, &[0]);
            SqlType::Variant
        }
        F::CurrentTransactionId => bigint,
        F::SuserSid => SqlType::VarBinary { length: Some(85) },
        F::OriginalDbName => types::sysname(),
        F::ObjectDefinition => {
            ints(&mut args, &[0]);
            types::nvarchar_max()
        }
        F::SwitchOffset | F::ToDateTimeOffset => {
            let old = args[0].clone();
            args[0] = cast(
                old,
                &if func == F::SwitchOffset {
                    SqlType::DateTimeOffset { scale: 7 }
                } else {
                    SqlType::DateTime2 { scale: 7 }
                },
            );
            SqlType::DateTimeOffset { scale: 7 }
        }
        F::HexText => types::nvarchar_max(),
        F::MinActiveRowVersion => SqlType::Binary { length: 8 },
        F::AtProcId => int,
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
        F::CdcMaxLsn | F::CdcMinLsn => {
            texts(&mut args, &[0]);
            SqlType::Binary { length: 10 }
        }
        F::CdcIncrement | F::CdcDecrement | F::CdcMapLsn => {
            args = args.into_iter().map(|a| cast(a, &SqlType::Binary { length: 10 })).collect();
            if func == F::CdcMapLsn { SqlType::DateTime } else { SqlType::Binary { length: 10 } }
        }
        F::CdcMapTime => {
            texts(&mut args, &[0]);
            let time = args.remove(1);
            args.push(cast(time, &SqlType::DateTime));
            SqlType::Binary { length: 10 }
        }
        F::CdcIsBitSet => {
            ints(&mut args, &[0]);
            let mask = args.remove(1);
            args.push(cast(mask, &SqlType::VarBinary { length: Some(128) }));
            SqlType::Bit
        }
        F::CdcColumnOrdinal => {
            texts(&mut args, &[0, 1]);
            int
        }
        F::CdcHasChanged => {
            texts(&mut args, &[0, 1]);
            let mask = args.remove(2);
            args.push(cast(mask, &SqlType::VarBinary { length: Some(128) }));
            SqlType::Bit
        }
        F::HierarchyRoot | F::HierarchyParse => {
            texts(&mut args, &[0]);
            SqlType::HierarchyId
        }
        F::GeometryParse | F::GeographyParse | F::GeometryText | F::GeographyText => {
            texts(&mut args, &[0]);
            ints(&mut args, &[1]);
            match func {
                F::GeometryParse | F::GeometryText => SqlType::Geometry,
                _ => SqlType::Geography,
            }
        }
        F::GeometryPoint | F::GeographyPoint => {
            let wanted = [&SqlType::Float, &SqlType::Float, &SqlType::Int];
            args = args.into_iter().zip(wanted).map(|(a, to)| cast(a, to)).collect();
            if func == F::GeometryPoint { SqlType::Geometry } else { SqlType::Geography }
        }
        F::ClrText => types::nvarchar_max(),
        F::ClrLevel => SqlType::SmallInt,
        F::EventData | F::XmlQuery => SqlType::Xml,
        F::XmlValue => types::nvarchar_max(),
        F::XmlExist | F::Updated => SqlType::Bit,
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
