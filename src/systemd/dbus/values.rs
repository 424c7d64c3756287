//! Values of D-Bus as `systemctl show` writes them.

use zvariant::Value;

/// The text of a value; none for types that no caller asks for.
pub(super) fn text(value: &Value<'_>) -> Option<String> {
    match value {
        Value::Str(text) => Some(text.to_string()),
        Value::Bool(yes) => Some(if *yes { "yes" } else { "no" }.into()),
        Value::U32(number) => Some(number.to_string()),
        Value::I32(number) => Some(number.to_string()),
        Value::U64(number) => Some(number.to_string()),
        Value::Array(array) => {
            // Names of units, or the bytes of an id.
            let parts = array.iter().map(|part| match part {
                Value::U8(byte) => Some(format!("{byte:02x}")),
                Value::Str(text) => Some(text.to_string()),
                _ => None,
            });
            let parts = parts.collect::<Option<Vec<_>>>()?;
            let is_bytes = array.iter().any(|part| matches!(part, Value::U8(_)));
            Some(parts.join(if is_bytes { "" } else { " " }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_systemctl_writes_them() {
        let text = |value: Value<'_>| text(&value).unwrap_or_default();
        assert_eq!(text(Value::from("active")), "active");
        assert_eq!(text(Value::from(false)), "no");
        assert_eq!(text(Value::from(9_i32)), "9");
        assert_eq!(text(Value::from(vec![0x0a_u8, 0xff])), "0aff");
        assert_eq!(text(Value::from(vec!["a.service", "b.mount"])), "a.service b.mount");
        assert_eq!(text(Value::from(Vec::<u8>::new())), "");
    }
}
