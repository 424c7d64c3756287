//! What systemd's manager object reports about units and jobs.

use zvariant::{OwnedObjectPath, Value};

use crate::systemd::dbus::connection::Connection;
use crate::systemd::dbus::error::{DbusError, cannot_parse};
use crate::systemd::dbus::message::{Call, PROPERTIES};
use crate::systemd::dbus::values;
use crate::systemd::unit::{Job, Properties};

/// The interface that every unit has.
const UNIT: &str = "org.freedesktop.systemd1.Unit";

/// Properties that belong to the type of a unit, not to every unit.
const OF_TYPE: [&str; 5] = ["Result", "Type", "NRestarts", "ExecMainCode", "ExecMainStatus"];

/// systemd's error if a unit of that type does not have the property.
const HAS_NONE: [&str; 2] =
    ["org.freedesktop.DBus.Error.UnknownProperty", "org.freedesktop.DBus.Error.UnknownInterface"];

/// A row of `ListUnitsFiltered`: name, description, load state, active state, sub state, what it
/// follows, path, id, type and path of its job.
type ListedUnit =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// A row of `ListJobs`: id, unit, type, state, path, path of the unit.
type ListedJob = (u32, String, String, String, OwnedObjectPath, OwnedObjectPath);

impl Connection {
    /// As [`crate::systemd::Manager::show`].
    pub fn show(&mut self, units: &[&str], names: &[&str]) -> Result<Vec<Properties>, DbusError> {
        units.iter().map(|unit| self.show_one(unit, names)).collect()
    }

    fn show_one(&mut self, unit: &str, names: &[&str]) -> Result<Properties, DbusError> {
        // A unit that does not exist has an object, too: its load state is `not-found`.
        let load = Call::manager("LoadUnit", "s", &(unit,))?;
        let (path,): (OwnedObjectPath,) = self.call(&load)?.read()?;
        let of_type = interface_of(unit);
        let mut calls = vec![];
        for name in names {
            let interface = if OF_TYPE.contains(name) { &of_type } else { UNIT };
            calls.push(Call::new(path.as_str(), PROPERTIES, "Get", "ss", &(interface, *name))?);
        }
        let mut properties = Properties::new();
        for (name, reply) in names.iter().zip(self.call_all(&calls)?) {
            match reply.error.as_deref() {
                None => {}
                Some(error) if HAS_NONE.contains(&error) => continue,
                Some(error) => return Err(cannot_parse(format!("{error}: {}", reply.error_text()))),
            }
            let data = reply.data();
            let ((value,), _): ((Value<'_>,), usize) = data.deserialize().map_err(cannot_parse)?;
            if let Some(text) = values::text(&value) {
                properties.insert((*name).to_owned(), text);
            }
        }
        Ok(properties)
    }

    /// As [`crate::systemd::Manager::failed_units`].
    pub fn failed_units(&mut self) -> Result<Vec<String>, DbusError> {
        let call = Call::manager("ListUnitsFiltered", "as", &(vec!["failed"],))?;
        let (units,): (Vec<ListedUnit>,) = self.call(&call)?.read()?;
        let mut names: Vec<String> = units.into_iter().map(|unit| unit.0).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// As [`crate::systemd::Manager::jobs`].
    pub fn jobs(&mut self) -> Result<Vec<Job>, DbusError> {
        let (jobs,): (Vec<ListedJob>,) = self.call(&Call::manager("ListJobs", "", &())?)?.read()?;
        let job = |(_, unit, kind, state, _, _)| Job { unit, kind, is_running: state == "running" };
        Ok(jobs.into_iter().map(job).collect())
    }
}

/// The interface of a unit's type: `app.service` has `org.freedesktop.systemd1.Service`.
fn interface_of(unit: &str) -> String {
    let suffix = unit.rsplit_once('.').map_or("", |(_, suffix)| suffix);
    let mut letters = suffix.chars();
    let first = letters.next().map(|c| c.to_ascii_uppercase()).into_iter();
    format!("org.freedesktop.systemd1.{}", first.chain(letters).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::interface_of;

    #[test]
    fn each_type_of_unit_has_an_interface() {
        assert_eq!(interface_of("a.b.service"), "org.freedesktop.systemd1.Service");
        assert_eq!(interface_of("data.automount"), "org.freedesktop.systemd1.Automount");
    }
}
