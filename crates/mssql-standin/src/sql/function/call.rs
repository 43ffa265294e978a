//! What functions give.

use super::{Func, split_name};
use logferry_model::SqlType;

use super::super::cdc;
use super::super::clr;
use super::super::convert::convert;
use super::super::error::{Result, SqlError};
use super::super::eval::Ctx;
use super::super::plan::Typed;
use super::super::time::{Moment, date_of, days_in, days_of};
use super::super::types::{self};
use super::super::value::{Dec, Value, trimmed};
use super::date::{DatePart, PARTS, date_add, date_diff, date_part};
use super::fact::fact;
use super::round::rounding;
use super::text::units;

pub(super) fn text_at(values: &[Value], at: usize) -> String {
    values.get(at).and_then(Value::as_text).unwrap_or_default()
}

pub(super) fn int_at(values: &[Value], at: usize) -> i64 {
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
    use super::Func as F;
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
    let db = || ctx.state.db(s.database);
    Ok(match func {
        F::Updated => {
            let (images, name) = (s.images.as_deref(), text_at(&v, 0));
            let at = images.and_then(|i| i.columns.iter().position(|c| super::super::value::same_name(&c.name, &name)));
            Value::bit(at.and_then(|at| images?.set.get(at).copied()).unwrap_or(false))
        }
        F::HierarchyRoot => Value::Bytes(Vec::new()),
        F::HierarchyParse | F::GeometryParse | F::GeographyParse => {
            clr::of_value(v.into_iter().next().unwrap_or(Value::Null), ty)?
        }
        F::GeometryText | F::GeographyText => clr::of_text(&text_at(&v, 0), int_at(&v, 1), ty)?,
        F::GeometryPoint | F::GeographyPoint => {
            let number = |at: usize| if let Some(Value::Float(f)) = v.get(at) { *f } else { 0.0 };
            // Of a geography, the latitude is the first.
            let (x, y) = if func == F::GeometryPoint { (number(0), number(1)) } else { (number(1), number(0)) };
            clr::of_text(&format!("POINT ({x} {y})"), int_at(&v, 2), ty)?
        }
        F::ClrText => Value::text(&clr::text(&v[0], &args[0].ty)?),
        F::ClrLevel => Value::Int(clr::level(&v[0])?),
        F::EventData => s.event.as_deref().map_or(Value::Null, Value::text),
        F::XmlValue | F::XmlQuery | F::XmlExist => super::super::method::of_xml(&v[0], &v[1], func)?,
        F::CdcMaxLsn => cdc::max_lsn(db())?,
        F::CdcMinLsn => cdc::min_lsn(db(), &text_at(&v, 0)),
        F::CdcIncrement | F::CdcDecrement => cdc::stepped(&v[0], func == F::CdcIncrement),
        F::CdcMapLsn => cdc::map_lsn_to_time(db(), &v[0])?,
        F::CdcMapTime => cdc::map_time_to_lsn(db(), &text_at(&v, 0), &v[1])?,
        F::CdcIsBitSet => cdc::is_bit_set(int_at(&v, 0), &v[1]),
        F::CdcColumnOrdinal => cdc::column_ordinal(db(), &text_at(&v, 0), &text_at(&v, 1)),
        F::CdcHasChanged => match cdc::column_ordinal(db(), &text_at(&v, 0), &text_at(&v, 1)) {
            Value::Int(place) => cdc::is_bit_set(place, &v[2]),
            _ => Value::Null,
        },
        F::IsNull => match v.first() {
            Some(Value::Null) | None => v.into_iter().nth(1).unwrap_or(Value::Null),
            _ => v.into_iter().next().unwrap_or(Value::Null),
        },
        F::Coalesce | F::NullIf => v.into_iter().find(|v| !v.is_null()).unwrap_or(Value::Null),
        F::Choose => {
            let at = int_at(&v, 0);
            if at < 1 { Value::Null } else { v.into_iter().nth(at as usize).unwrap_or(Value::Null) }
        }
        F::Len
        | F::DataLength
        | F::Substring
        | F::Left
        | F::Right
        | F::Upper
        | F::Lower
        | F::LTrim
        | F::RTrim
        | F::Trim
        | F::Reverse
        | F::Replace
        | F::Stuff
        | F::CharIndex
        | F::PatIndex
        | F::Concat
        | F::ConcatWs
        | F::Replicate
        | F::Space
        | F::Ascii
        | F::Unicode
        | F::Char
        | F::NChar
        | F::QuoteName
        | F::Str
        | F::BinaryCollation => super::text::of_text(func, &v, args, ty)?,
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
        F::ParseName => {
            let parts = split_name(&text_at(&v, 0));
            let which = int_at(&v, 1);
            let found =
                usize::try_from(which).ok().and_then(|n| parts.len().checked_sub(n)).and_then(|at| parts.get(at));
            match found {
                Some(part) if (1..=4).contains(&which) && !part.is_empty() => Value::text(part),
                _ => Value::Null,
            }
        }
        F::VariantProperty => match &v[0] {
            Value::Variant(held) => {
                let (length, precision, scale) = types::sizes(&held.0);
                let number = |n: i64| Value::Variant(Box::new((SqlType::Int, Value::Int(n))));
                match text_at(&v, 1).to_lowercase().as_str() {
                    "basetype" => Value::Variant(Box::new((types::nvarchar(128), Value::text(types::name(&held.0))))),
                    "precision" => number(precision.into()),
                    "scale" => number(scale.into()),
                    "maxlength" | "totalbytes" => number(length.into()),
                    "collation" if types::is_text(&held.0) => {
                        Value::Variant(Box::new((types::nvarchar(128), Value::text("SQL_Latin1_General_CP1_CI_AS"))))
                    }
                    _ => Value::Null,
                }
            }
            _ => Value::Null,
        },
        F::ConnectionProperty => {
            let shown = match text_at(&v, 0).to_lowercase().as_str() {
                "net_transport" => "TCP",
                "protocol_type" => "TSQL",
                "auth_scheme" => "SQL",
                "local_net_address" | "client_net_address" => "127.0.0.1",
                _ => return Ok(Value::Null),
            };
            Value::Variant(Box::new((types::nvarchar(40), Value::text(shown))))
        }
        F::CurrentTransactionId => {
            let own = ctx.state.databases.iter().flatten().flat_map(|d| d.storage.transactions());
            let own = own.filter(|x| x.user && x.spid == u32::from(s.spid.unsigned_abs()));
            Value::Int(own.map(|x| x.dm_id).min().unwrap_or(0) as i64)
        }
        F::SuserSid => Value::Bytes(vec![1]),
        F::OriginalDbName => Value::text(&ctx.state.db(s.database).name),
        F::ObjectDefinition => {
            let id = int_at(&v, 0);
            let db = ctx.state.db(s.database);
            let of = |m: &super::super::state::TableMeta| {
                let check = m.checks.iter().find(|c| i64::from(c.object) == id).map(|c| c.text.clone());
                check.or_else(|| m.defaults.iter().find(|d| i64::from(d.object) == id).map(|d| d.text.clone()))
            };
            let module = db.modules.iter().find(|(m, _)| i64::from(**m) == id).map(|(_, m)| m.text.clone());
            Value::opt_text(module.or_else(|| db.tables.values().find_map(of)).as_deref())
        }
        F::SwitchOffset | F::ToDateTimeOffset => {
            let minutes = match &v[1] {
                Value::Int(n) => i64::from(i32::try_from(*n).unwrap_or(i32::MAX)),
                other => {
                    let text = other.as_text().unwrap_or_default();
                    let digits = |part: &str| part.parse::<i64>().unwrap_or(i64::MAX / 100);
                    let (sign, rest) = match text.strip_prefix('-') {
                        Some(rest) => (-1, rest),
                        None => (1, text.strip_prefix('+').unwrap_or("x")),
                    };
                    let (hours, rest) = rest.split_once(':').unwrap_or((rest, "x"));
                    sign * (digits(hours).saturating_mul(60)).saturating_add(digits(rest))
                }
            };
            let Ok(minutes @ -840..=840) = i16::try_from(minutes) else {
                return Err(SqlError::new(9812, "The timezone provided to builtin function switchoffset is invalid."));
            };
            match &v[0] {
                Value::Offset(days, ticks, _) => Value::Offset(*days, *ticks, minutes),
                Value::DateTime2(days, ticks) => {
                    // The moment is given as it is there.
                    let day = super::super::value::DAY_TICKS as i64;
                    let utc = *ticks as i64 - i64::from(minutes) * 600_000_000;
                    Value::Offset(days + utc.div_euclid(day) as i32, utc.rem_euclid(day) as u64, minutes)
                }
                _ => Value::Null,
            }
        }
        F::HexText => match &v[0] {
            Value::Bytes(b) => Value::text(&format!("0x{}", b.iter().map(|b| format!("{b:02x}")).collect::<String>())),
            _ => Value::Null,
        },
        F::MinActiveRowVersion => Value::Bytes((ctx.state.db(s.database).row_version + 1).to_be_bytes().to_vec()),
        F::AtProcId => Value::Int(0),
        F::Pi => Value::Float(std::f64::consts::PI),
        F::Rand => Value::Float((random(ctx) >> 11) as f64 / (1u64 << 53) as f64),
        F::Checksum => {
            let mut key = Vec::new();
            v.iter().for_each(|v| super::super::value::group_key(v, &mut key));
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
                (Some(i), F::IdentCurrent) => number(Some(i.last.unwrap_or(i.seed))),
                (Some(i), F::IdentSeed) => number(Some(i.seed)),
                (Some(i), _) => number(Some(i.increment)),
                (None, _) => Value::Null,
            }
        }
        _ => fact(func, &v, ctx)?,
    })
}
