//! Where the boot partitions are.

use super::esp::{Access, BootDirs};
use super::loader_vars::LoaderVars;
use super::volume::{Folder, Volume};
use crate::error::{Error, Result};
use crate::root::Root;

/// Where an ESP may be in a tree, in order (DESIGN, `--root`; also where systemd mounts it).
const ESP_DIRS: [&str; 3] = ["/efi", "/boot/efi", "/boot"];

pub(super) fn find(root: &Root, _vars: &LoaderVars, _access: Access) -> Result<BootDirs> {
    if root.is_live() { Err(Error::Boot("not yet".into())) } else { find_in_tree(root) }
}

fn find_in_tree(root: &Root) -> Result<BootDirs> {
    let holds = |at: &str, what: &str| Folder::new(root.path(at)).path(what).is_dir();
    let Some(esp) = ESP_DIRS.into_iter().find(|dir| holds(dir, "EFI")) else {
        return Err(Error::Boot(format!(
            "no ESP: none of {} holds a folder EFI",
            ESP_DIRS.map(|dir| root.path(dir).display().to_string()).join(", ")
        )));
    };
    let boot = "/boot";
    let is_xbootldr = esp != boot && (holds(boot, "loader/entries") || holds(boot, "EFI/Linux"));
    let volume = |at: &str| Box::new(Folder::new(root.path(at))) as Box<dyn Volume>;
    Ok(BootDirs { esp: volume(esp), xbootldr: is_xbootldr.then(|| volume(boot)) })
}
