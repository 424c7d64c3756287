//! One generated disk, and the model's word against the loader's.

use std::collections::BTreeMap;
use std::fmt;

use abide::boot::simulation;
use abide::boot::simulation::is_counted;
use abide_core::boot::efi::efivars::decode_text;
use abide_core::boot::esp::entries::loader_conf;
use abide_core::boot::esp::fat::FatVolume;
use abide_core::boot::model::entry::{
    BootPartition, CONF_DIR, Entry, EntryKind, EntryState, Starts, UKI_DIR,
};
use abide_core::boot::model::order::{loader_id, order};
use abide_core::boot::model::type1;
use abide_core::boot::{BootDirs, LoaderVars, Quirks};
use abide_qemu::decision::{Case, Decision, LoaderEnd};
use abide_qemu::small_disk::{File, create, partition};
use abide_testing::utf16;
use tempfile::TempDir;

/// A disk and the variables that the loader finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tree {
    pub esp: Vec<File>,
    pub xbootldr: Option<Vec<File>>,
    pub variables: Vec<(String, String)>,
    /// Programs and UKIs that the firmware cannot load, as `PARTITION:PATH`.
    pub broken: Vec<String>,
}

impl Tree {
    /// What the loader is asked.
    pub fn case(&self) -> Case {
        let variables = self.variables.iter().map(|(name, value)| (name.clone(), utf16(value)));
        Case { disk: create(&self.esp, self.xbootldr.as_deref()).unwrap(), variables: variables.collect() }
    }

    fn cannot_be_started(&self, entry: &Entry, file: &str) -> bool {
        entry.kind == EntryKind::Conf(Starts::UkiUrl)
            || self.broken.contains(&format!("{}:{file}", entry.partition.as_str()))
    }

    fn variable(&self, name: &str) -> Option<String> {
        self.variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    }

    /// The variables as the product reads them.
    fn loader_vars(&self, info: String) -> LoaderVars {
        LoaderVars {
            info: Some(info),
            oneshot: self.variable("LoaderEntryOneShot"),
            preferred: self.variable("LoaderEntryPreferred"),
            default: self.variable("LoaderEntryDefault"),
            last_booted: self.variable("LoaderEntryLastBooted"),
            ..LoaderVars::default()
        }
    }
}

impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let partitions = [("esp", Some(&self.esp)), ("xbootldr", self.xbootldr.as_ref())];
        for (partition, file) in partitions
            .iter()
            .flat_map(|(p, files)| files.iter().flat_map(move |f| f.iter().map(move |f| (p, f))))
        {
            let read_only = if file.read_only { " (read-only)" } else { "" };
            writeln!(f, "  {partition}: {}{read_only}", file.path)?;
            let is_text = file.path.ends_with("f") || file.path.ends_with("F");
            let text = String::from_utf8_lossy(&file.content);
            let lines: Vec<&str> = match is_text {
                true => text.lines().map(str::trim_end).filter(|line| !line.starts_with('#')).collect(),
                false => {
                    text.split(['\0', '\n']).filter(|line| line.contains(['=']) && line.is_ascii()).collect()
                }
            };
            if !lines.is_empty() {
                writeln!(f, "      {}", lines.join("; "))?;
            }
        }
        if !self.broken.is_empty() {
            writeln!(f, "  broken: {}", self.broken.join(", "))?;
        }
        self.variables.iter().try_for_each(|(name, value)| writeln!(f, "  {name}={value:?}"))
    }
}

/// The disk as the product reads it.
fn open(disk: &[u8], has_xbootldr: bool) -> (TempDir, BootDirs) {
    let dir = tempfile::tempdir().unwrap();
    let volume = |index: usize| {
        let path = dir.path().join(index.to_string());
        std::fs::write(&path, partition(disk, index).unwrap()).unwrap();
        Box::new(FatVolume::open(&path).unwrap())
    };
    let esp = volume(0);
    let xbootldr = has_xbootldr.then(|| volume(1) as _);
    (dir, BootDirs { esp, xbootldr })
}

/// All files in the folders of the entries, sorted.
fn files(dirs: &BootDirs) -> Vec<String> {
    let mut files = Vec::new();
    for partition in [BootPartition::Esp, BootPartition::Xbootldr] {
        let Ok(volume) = dirs.volume(partition) else { continue };
        for dir in [UKI_DIR, CONF_DIR] {
            let items = volume.list(dir).unwrap();
            files.extend(items.into_iter().map(|item| format!("{}:{dir}/{}", partition.as_str(), item.name)));
        }
    }
    files.sort();
    files
}

fn place(entry: &Entry) -> String {
    format!("{}:{}", entry.partition.as_str(), entry.path())
}

/// The id of the entry that was started.
pub fn selected(decision: &Decision) -> String {
    decision.variables.get("LoaderEntrySelected").map(|value| decode_text(value)).unwrap_or_default()
}

/// The names in `EFI/Linux` afterwards, sorted; there is no XBOOTLDR partition.
pub fn entries(decision: &Decision) -> Vec<String> {
    let (_kept, dirs) = open(&decision.disk, false);
    let mut names: Vec<String> = dirs.esp.list(UKI_DIR).unwrap().into_iter().map(|item| item.name).collect();
    names.sort();
    names
}

/// What is the other way than the model says, and how many entries the loader saw.
pub fn differences(tree: &Tree, decision: &Decision) -> (Vec<String>, usize) {
    let told: BTreeMap<&str, String> =
        decision.variables.iter().map(|(name, value)| (name.as_str(), decode_text(value))).collect();
    let variable = |name: &str| told.get(name).cloned().unwrap_or_default();
    let vars = tree.loader_vars(variable("LoaderInfo"));
    let quirks: Quirks = vars.quirks();
    let (_kept, before) =
        open(&create(&tree.esp, tree.xbootldr.as_deref()).unwrap(), tree.xbootldr.is_some());
    let all = before.entries(&quirks).unwrap();
    let settings = vars.settings(loader_conf(&before, quirks.single_quotes).unwrap());
    let boot = simulation::boot(&all, &settings, &quirks);

    let mut found = Vec::new();
    let mut compare = |what: &str, model: String, loader: String| {
        if model != loader {
            found.push(format!("{what}: the model says {model:?}, the loader {loader:?}"));
        }
    };
    // Entries that the loader makes up by itself come behind all others.
    let list = decision.variables.get("LoaderEntries").map(|bytes| {
        let units: Vec<u16> = bytes.as_chunks::<2>().0.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
        units.split(|unit| *unit == 0).map(String::from_utf16_lossy).filter(|id| !id.is_empty()).collect()
    });
    let list: Vec<String> = list.unwrap_or_default();
    let list: Vec<String> = list.into_iter().filter(|id| !id.starts_with("auto-reboot-")).collect();
    let ids: Vec<String> = order(&all, &quirks).iter().map(|entry| loader_id(entry, &quirks)).collect();
    compare("the order", ids.join(" "), list.join(" "));

    let (_kept, after) = open(&decision.disk, tree.xbootldr.is_some());
    let started = match &decision.end {
        LoaderEnd::Started { partition, path, options } => {
            let profile = options.split(' ').next().filter(|word| word.starts_with('@')).unwrap_or("@0");
            format!("{partition}:{} {profile}", path.replace('\\', "/").trim_start_matches('/'))
        }
        other => format!("{other:?}"),
    };
    let is_started = matches!(decision.end, LoaderEnd::Started { .. });
    let Some(boot) = boot else {
        // It goes to the firmware's setup, or gives up.
        compare("whether something is started", false.to_string(), is_started.to_string());
        return (found, ids.len());
    };
    let chosen = &boot.choice.entry;
    // The same entry afterwards: a boot keeps the order of the list.
    let position = all.iter().position(|entry| entry == chosen).unwrap();
    let renamed = &boot.entries[position];
    let number = if chosen.partition == BootPartition::Esp { 1 } else { 2 };
    let target = match chosen.kind {
        EntryKind::Uki => renamed.path(),
        EntryKind::Conf(_) => program_of(tree, chosen, &quirks),
    };
    let file = if chosen.kind == EntryKind::Uki { chosen.path() } else { target.clone() };
    if tree.cannot_be_started(chosen, &file) {
        let ending = match chosen.state() {
            EntryState::Trial if quirks.reboots_on_error => "a reset",
            _ => "back to the firmware",
        };
        let ended = match decision.end {
            LoaderEnd::Started { .. } => "a start",
            LoaderEnd::Returned(_) => "back to the firmware",
            LoaderEnd::Reset => "a reset",
        };
        compare("what comes of an entry that cannot be started", ending.into(), ended.into());
    } else {
        compare("what is started", format!("{number}:{target} @{}", chosen.profile), started);
    }

    let mut names: Vec<String> = files(&before).into_iter().filter(|file| *file != place(chosen)).collect();
    names.push(place(renamed));
    names.sort();
    compare("the names", names.join(" "), files(&after).join(" "));

    let path = format!("\\{}", renamed.path().replace('/', "\\"));
    let counted = is_counted(chosen, &quirks) && renamed.name != chosen.name;
    compare(
        "LoaderBootCountPath",
        if counted { path } else { String::new() },
        variable("LoaderBootCountPath"),
    );
    compare("LoaderEntrySelected", loader_id(chosen, &quirks), variable("LoaderEntrySelected"));
    for (name, left) in [
        ("LoaderEntryOneShot", &boot.settings.oneshot),
        ("LoaderEntryDefault", &boot.settings.default),
        ("LoaderEntryPreferred", &boot.settings.preferred),
        ("LoaderEntryLastBooted", &boot.settings.last_booted),
    ] {
        compare(name, left.clone().unwrap_or_default(), variable(name));
    }
    (found, ids.len())
}

/// The program that a Type #1 entry starts.
fn program_of(tree: &Tree, entry: &Entry, quirks: &Quirks) -> String {
    let files = match entry.partition {
        BootPartition::Esp => &tree.esp,
        BootPartition::Xbootldr => tree.xbootldr.as_ref().unwrap(),
    };
    let conf = files.iter().find(|file| file.path == entry.path()).unwrap();
    type1::parse(&String::from_utf8_lossy(&conf.content), quirks).unwrap().target
}
