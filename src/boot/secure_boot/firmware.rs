//! What the firmware says about Secure Boot in its variables.

use efivar::VarReader;
use efivar::efi::Variable;
use uuid::{Uuid, uuid};

use crate::boot::secure_boot::lists::KeyList;
use abide_core::boot::EfiVars;
use abide_core::root::Root;

/// `EFI_GLOBAL_VARIABLE`
const GLOBAL: Uuid = uuid!("8be4df61-93ca-11d2-aa0d-00e098032b8c");
/// `EFI_IMAGE_SECURITY_DATABASE_GUID`
const DATABASE: Uuid = uuid!("d719b2cb-3d3a-4596-a3bc-dad00e67656f");
/// `SHIM_LOCK_GUID`
const SHIM: Uuid = uuid!("605dab50-e046-4300-abb6-3dd810dd8b23");

/// How many variables shim divides a long list into, beyond the first (`mirror_mok_db`).
const MOST_PARTS: u32 = 64;

/// Whether Secure Boot is on, as far as that is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecureBoot {
    /// Off, in setup mode, or there is no EFI.
    Off,
    /// Its variables cannot be read, and why.
    Unknown(String),
    /// On, with these lists.
    On(Box<Enforcing>),
}

/// The lists by which executables are started or not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Enforcing {
    /// `db`
    pub db: KeyList,
    /// `dbx`
    pub dbx: KeyList,
    /// The lists of the machine's owner, `MokListRT` and `MokListXRT`, if shim was used.
    pub mok: Option<(KeyList, KeyList)>,
}

impl SecureBoot {
    /// Reads the variables.
    #[must_use]
    pub fn read(root: &Root) -> Self {
        Self::try_read(&Variables(EfiVars::new(root))).unwrap_or_else(Self::Unknown)
    }

    fn try_read(variables: &Variables) -> Result<Self, String> {
        let is_on = variables.is_set("SecureBoot", GLOBAL)?;
        // The owner of the machine can tell shim to verify nothing.
        if !is_on || variables.is_set("SetupMode", GLOBAL)? || variables.is_set("MokSBStateRT", SHIM)? {
            return Ok(Self::Off);
        }
        let list = |name, vendor| Ok::<_, String>(variables.list(name, vendor)?.unwrap_or_default());
        let mok = match variables.list("MokListRT", SHIM)? {
            Some(mok) => Some((mok, list("MokListXRT", SHIM)?)),
            None => None,
        };
        let (db, dbx) = (list("db", DATABASE)?, list("dbx", DATABASE)?);
        Ok(Self::On(Box::new(Enforcing { db, dbx, mok })))
    }
}

struct Variables(EfiVars);

impl Variables {
    fn read(&self, name: &str, vendor: Uuid) -> Result<Option<Vec<u8>>, String> {
        match self.0.read(&Variable::new_with_vendor(name, vendor)) {
            Ok((data, _)) => Ok(Some(data)),
            Err(efivar::Error::VarNotFound { .. }) => Ok(None),
            Err(e) => Err(format!("the EFI variable {name} cannot be read ({e})")),
        }
    }

    fn is_set(&self, name: &str, vendor: Uuid) -> Result<bool, String> {
        Ok(self.read(name, vendor)?.is_some_and(|data| data.first() == Some(&1)))
    }

    fn list(&self, name: &str, vendor: Uuid) -> Result<Option<KeyList>, String> {
        let Some(mut list) = self.part(name, vendor)? else { return Ok(None) };
        if vendor == SHIM {
            for number in 1..=MOST_PARTS {
                let Some(more) = self.part(&format!("{name}{number}"), vendor)? else { break };
                list.extend(more);
            }
        }
        Ok(Some(list))
    }

    fn part(&self, name: &str, vendor: Uuid) -> Result<Option<KeyList>, String> {
        let parse = |data: Vec<u8>| {
            KeyList::parse(&data).ok_or_else(|| format!("the EFI variable {name} is not a list of keys"))
        };
        self.read(name, vendor)?.map(parse).transpose()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::fs;

    use super::*;

    fn read(variables: &[(&str, Uuid, &[u8])]) -> SecureBoot {
        let dir = tempfile::tempdir().unwrap();
        let vars = dir.path().join("sys/firmware/efi/efivars");
        fs::create_dir_all(&vars).unwrap();
        for (name, vendor, data) in variables {
            fs::write(vars.join(format!("{name}-{vendor}")), [&[6, 0, 0, 0], *data].concat()).unwrap();
        }
        SecureBoot::read(&Root::at(dir.path()))
    }

    #[test]
    fn it_is_off_unless_the_firmware_and_shim_verify() {
        let on = ("SecureBoot", GLOBAL, &[1][..]);
        assert_eq!(read(&[]), SecureBoot::Off);
        assert_eq!(read(&[("SecureBoot", GLOBAL, &[0])]), SecureBoot::Off);
        assert_eq!(read(&[on, ("SetupMode", GLOBAL, &[1])]), SecureBoot::Off);
        assert_eq!(read(&[on, ("MokSBStateRT", SHIM, &[1])]), SecureBoot::Off);
        assert_eq!(read(&[on, ("SetupMode", GLOBAL, &[0])]), SecureBoot::On(Box::default()));
        let with_shim = Enforcing { mok: Some(Default::default()), ..Enforcing::default() };
        assert_eq!(read(&[on, ("MokListRT", SHIM, &[])]), SecureBoot::On(Box::new(with_shim)));
    }

    #[test]
    fn a_damaged_list_is_named() {
        let on = ("SecureBoot", GLOBAL, &[1][..]);
        let SecureBoot::Unknown(why) = read(&[on, ("dbx", DATABASE, &[1; 40])]) else { panic!() };
        assert_eq!(why, "the EFI variable dbx is not a list of keys");
    }
}
