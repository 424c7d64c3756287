//! What systemd's D-Bus interface says, in the words of `systemctl show`.

use zvariant::{OwnedObjectPath, Value};

use crate::systemd::Job;

/// The interface that every unit has.
pub const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Properties that belong to the type of a unit, not to every unit.
const OF_TYPE: [&str; 5] = ["Result", "Type", "NRestarts", "ExecMainCode", "ExecMainStatus"];

/// A row of `ListUnitsFiltered`: name, description, load state, active state, sub state, what it
/// follows, path, id, type and path of its job.
pub type Listed =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A row of `ListJobs`: id, unit, type, state, path, path of the unit.
pub type Queued = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

/// Whether a property is one of those that not every unit has.
pub fn is_of_type(property: &str) -> bool {
    OF_TYPE.contains(&property)
}

/// The interface of a unit's type: `app.service` has `org.freedesktop.systemd1.Service`.
pub fn interface_of(unit: &str) -> String {
    let suffix = unit.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let mut letters = suffix.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
    format!("org.freedesktop.systemd1.{}", first.chain(letters).collect::<String>())
}

/// A value as `systemctl show` writes it; none where nobody asks for such a one.
pub fn text(value: &Value<'_>) -> Option<String> {
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

/// The names of units, in their order.
pub fn names(units: Vec<Listed>) -> Vec<String> {
    let mut names: Vec<String> = units.into_iter().map(|unit| unit.0).collect();
    names.sort();
    names
}

/// A job.
pub fn job((_, unit, kind, state, _, _): Queued) -> Job {
    Job { unit, kind, is_running: state == "running" }
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

    #[test]
    fn each_type_of_unit_has_an_interface() {
        assert_eq!(interface_of("a.b.service"), "org.freedesktop.systemd1.Service");
        assert_eq!(interface_of("data.automount"), "org.freedesktop.systemd1.Automount");
    }
}
