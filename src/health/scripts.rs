//! Folders of scripts, as greenboot has them: `check/required.d` and `check/wanted.d` are checks of a
//! trial, `green.d` runs after its commit, `red.d` after its failure.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use log::warn;

use crate::config::kinds::CommandCheck;
use crate::config::{CheckConfig, CheckKind, Scripts};
use abide_core::root::Root;

/// The parents of the folders; of files with the same name the last one counts.
const HOMES: [&str; 4] = ["/usr/lib/greenboot", "/usr/lib/abide", "/etc/greenboot", "/etc/abide"];

/// The configuration of greenboot: a script for bash.
const GREENBOOT_CONF: &str = "/etc/greenboot/greenboot.conf";

/// greenboot runs everything with the first; if it is missing, the second is used.
const SHELLS: [&str; 2] = ["bash", "sh"];

/// A script that is to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// Its file name.
    pub name: String,
    /// Its path below the root.
    path: PathBuf,
    /// The file itself, links followed.
    file: PathBuf,
    /// Its interpreter, if it cannot be executed directly.
    interpreter: Option<&'static str>,
}

impl Script {
    /// The command that starts it.
    #[must_use]
    pub fn command(&self) -> Command {
        match self.interpreter {
            Some(interpreter) => {
                let mut command = Command::new(interpreter);
                command.arg(&self.file);
                command
            }
            None => Command::new(&self.file),
        }
    }

    /// The same for a check, which takes the path of a program below the root.
    fn check(&self) -> CommandCheck {
        let command = match self.interpreter {
            Some(interpreter) => vec![interpreter.to_owned(), self.file.display().to_string()],
            None => vec![self.path.display().to_string()],
        };
        CommandCheck { command }
    }
}

/// The scripts of `check/required.d` and `check/wanted.d` as checks, in the order in which they run.
#[must_use]
pub fn checks(root: &Root, config: &Scripts) -> Vec<CheckConfig> {
    if !config.enabled {
        return vec![];
    }
    let mut disabled = config.disabled.clone();
    disabled
        .extend(fs::read_to_string(root.path(GREENBOOT_CONF)).map(|t| disabled_in(&t)).unwrap_or_default());
    let mut checks = vec![];
    let mut unknown = disabled.clone();
    for (folder, required) in [("required.d", true), ("wanted.d", false)] {
        for script in find(root, &format!("check/{folder}")) {
            unknown.retain(|name| *name != script.name);
            if disabled.contains(&script.name) {
                continue;
            }
            let kind = CheckKind::Command(script.check());
            checks.push(CheckConfig {
                required,
                timeout: config.timeout,
                interval: config.interval,
                in_order: true,
                ..CheckConfig::new(&format!("{folder}/{}", script.name), kind)
            });
        }
    }
    for name in unknown {
        warn!("the configuration disables the script {name}, but no script has that name");
    }
    checks
}

/// The scripts in a folder such as `green.d`, by name. Of scripts with the same name, the one in `/etc`
/// precedes that in `/usr/lib`, and Abide's precedes greenboot's. A link to `/dev/null` masks a script.
#[must_use]
pub fn find(root: &Root, folder: &str) -> Vec<Script> {
    let files = files(root, folder).into_iter();
    files.filter_map(|(name, path)| script(root, &name.into_string().ok()?, &path)).collect()
}

/// The names in such a folder that are no scripts: not executable, links that lead nowhere, folders. Leftovers of editors
/// and package managers, documentation and masks are not among them.
#[must_use]
pub fn unusable(root: &Root, folder: &str) -> Vec<String> {
    let is_expected = |name: &str, path: &Path| {
        let is_masked = || fs::read_link(root.path(path)).is_ok_and(|to| to == Path::new("/dev/null"));
        is_leftover(name) || name.starts_with("README") || script(root, name, path).is_some() || is_masked()
    };
    let names =
        files(root, folder).into_iter().map(|(name, path)| (name.to_string_lossy().into_owned(), path));
    names.filter(|(name, path)| !is_expected(name, path)).map(|(name, _)| name).collect()
}

/// What is in such a folder, by name.
fn files(root: &Root, folder: &str) -> BTreeMap<OsString, PathBuf> {
    let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
    for home in HOMES {
        let path = Path::new(home).join(folder);
        let Ok(dir) = root.resolve(&path) else { continue };
        let Ok(entries) = fs::read_dir(&dir) else { continue };
        files.extend(entries.flatten().map(|e| (e.file_name(), path.join(e.file_name()))));
    }
    files
}

fn is_leftover(name: &str) -> bool {
    let endings =
        ["~", ".bak", ".orig", ".rej", ".swp", ".dpkg-old", ".dpkg-new", ".dpkg-dist", ".rpmsave", ".rpmnew"];
    name.starts_with('.') || endings.iter().any(|ending| name.ends_with(ending))
}

/// Executable files and those called `*.sh`; not the leftovers of editors and package managers.
fn script(root: &Root, name: &str, path: &Path) -> Option<Script> {
    let file = root.resolve(path).ok()?;
    let info = fs::metadata(&file).ok()?;
    let is_shell = name.ends_with(".sh");
    let is_executable = info.permissions().mode() & 0o111 != 0;
    if !info.is_file() || name.starts_with('.') || name.ends_with('~') || !(is_shell || is_executable) {
        return None;
    }
    let runs_itself = is_executable && (!is_shell || has_interpreter(&file));
    let [bash, sh] = SHELLS;
    let shell = if root.path("/bin/bash").exists() || !root.is_live() { bash } else { sh };
    let interpreter = (!runs_itself).then_some(shell);
    Some(Script { name: name.to_owned(), path: path.to_owned(), file, interpreter })
}

/// Whether it begins with `#!`.
fn has_interpreter(file: &Path) -> bool {
    let mut start = [0; 2];
    fs::File::open(file).and_then(|mut f| f.read_exact(&mut start)).is_ok() && start == *b"#!"
}

/// The words of the last `DISABLED_HEALTHCHECKS=(…)` in greenboot's configuration, which is written
/// for bash: over several lines, quoted or not, with comments in between.
fn disabled_in(text: &str) -> Vec<String> {
    let lines = text.lines().map(|line| line.split_once('#').map_or(line, |(code, _)| code));
    let code = lines.collect::<Vec<_>>().join("\n");
    let Some((_, value)) = code.rsplit_once("DISABLED_HEALTHCHECKS=") else { return vec![] };
    let value = match value.strip_prefix('(') {
        Some(list) => list.split(')').next().unwrap_or_default(),
        None => value.lines().next().unwrap_or_default(),
    };
    value
        .split_whitespace()
        .map(|word| word.trim_matches(['"', '\'']).to_owned())
        .filter(|w| !w.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::os::unix::fs::symlink;

    fn file(root: &Path, path: &str, mode: u32, text: &str) {
        let path = root.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
    }

    fn names(root: &Path) -> Vec<String> {
        checks(&Root::at(root), &Scripts::default()).into_iter().map(|c| c.name).collect()
    }

    #[test]
    fn scripts_are_found_by_name_and_etc_wins() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        file(root, "usr/lib/greenboot/check/required.d/20_b.sh", 0o644, "");
        file(root, "usr/lib/greenboot/check/required.d/10_a.sh", 0o755, "#!/bin/sh\n");
        file(root, "etc/greenboot/check/required.d/10_a.sh", 0o755, "#!/bin/sh\n");
        file(root, "etc/abide/check/wanted.d/probe", 0o755, "\x7fELF");
        assert_eq!(names(root), ["required.d/10_a.sh", "required.d/20_b.sh", "wanted.d/probe"]);
        let found = find(&Root::at(root), "check/required.d");
        let first = found.first().unwrap();
        assert_eq!(first.check().command, ["/etc/greenboot/check/required.d/10_a.sh"]);
        assert_eq!(
            found.last().unwrap().check().command.len(),
            2,
            "without the right to be executed: by a shell"
        );
    }

    #[test]
    fn what_is_no_script_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for (name, mode) in [("README", 0o644), ("a.sh~", 0o755), (".hidden.sh", 0o755)] {
            file(root, &format!("etc/abide/check/required.d/{name}"), mode, "");
        }
        fs::create_dir_all(root.join("etc/abide/check/required.d/folder.sh")).unwrap();
        assert!(names(root).is_empty());
    }

    #[test]
    fn a_link_to_dev_null_masks_a_script() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        file(root, "usr/lib/greenboot/check/required.d/10_a.sh", 0o755, "#!/bin/sh\n");
        fs::create_dir_all(root.join("etc/greenboot/check/required.d")).unwrap();
        symlink("/dev/null", root.join("etc/greenboot/check/required.d/10_a.sh")).unwrap();
        assert!(names(root).is_empty());
    }

    #[test]
    fn greenboots_list_of_disabled_scripts_holds() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        file(root, "usr/lib/greenboot/check/required.d/01_repository_dns_check.sh", 0o755, "");
        file(root, "usr/lib/greenboot/check/required.d/02_watchdog.sh", 0o755, "");
        let list =
            "# DISABLED_HEALTHCHECKS=(\"x\")\nDISABLED_HEALTHCHECKS=(\n  \"02_watchdog.sh\" # why\n)\n";
        file(root, "etc/greenboot/greenboot.conf", 0o644, list);
        assert_eq!(names(root), ["required.d/01_repository_dns_check.sh"]);
    }

    #[test]
    fn bash_lists_are_read_as_bash_would() {
        assert!(disabled_in("DISABLED_HEALTHCHECKS=()\n").is_empty());
        assert!(disabled_in("# DISABLED_HEALTHCHECKS=(a)\n").is_empty());
        assert_eq!(disabled_in("DISABLED_HEALTHCHECKS=(a 'b'\n\"c\")\nOTHER=(d)\n"), ["a", "b", "c"]);
        assert_eq!(disabled_in("DISABLED_HEALTHCHECKS=(a)\nDISABLED_HEALTHCHECKS=(b)\n"), ["b"]);
        assert_eq!(disabled_in("DISABLED_HEALTHCHECKS=\"a\"\n"), ["a"]);
    }
}
