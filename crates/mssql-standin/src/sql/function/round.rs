//! ROUND, ABS, FLOOR, CEILING, SIGN.

use super::Func;
use logferry_model::SqlType;

use super::super::error::{Result, SqlError, overflow};
use super::super::plan::Typed;
use super::super::types::{self};
use super::super::value::{Dec, Value, div_round, pow10};
use super::call::int_at;

pub(super) fn rounding(func: Func, v: &[Value], args: &[Typed], ty: &SqlType) -> Result<Value> {
    use super::Func as F;
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
    use super::Func as F;
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
