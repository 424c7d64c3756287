//! The crates as trees of modules, and which file imports which.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::source::{Marks, Source};

/// All crates, with every module of theirs that is not for tests.
#[derive(Debug, Default)]
pub struct Tree {
    pub files: Vec<File>,
    /// The files that are for tests only.
    pub test_files: Vec<String>,
    modules: Vec<Module>,
    /// The crates by the names that imports call them.
    crates: BTreeMap<String, usize>,
}

#[derive(Debug)]
pub struct File {
    /// From the top of the repository.
    pub path: String,
    pub lines: usize,
    pub marks: Marks,
}

#[derive(Debug)]
struct Module {
    file: usize,
    parent: Option<usize>,
    children: BTreeMap<String, usize>,
    source: Source,
}

/// One file imports something of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    pub from: usize,
    pub to: usize,
    pub line: usize,
    /// As it is written.
    pub path: String,
}

/// What a path leads to.
#[derive(Clone, Copy)]
enum Target {
    Module(usize),
    /// Something that this file holds.
    Item(usize),
}

/// Gives the text of a file, if it is there.
pub type Read<'a> = &'a dyn Fn(&str) -> Option<String>;

impl Tree {
    /// Reads a crate from its first file on.
    pub fn add(&mut self, name: &str, first: &str, read: Read) -> Result<(), String> {
        let root = self.file(first, None, read)?;
        self.crates.insert(name.into(), root);
        Ok(())
    }

    fn file(&mut self, path: &str, parent: Option<usize>, read: Read) -> Result<usize, String> {
        let text = read(path).ok_or_else(|| format!("{path}: not found"))?;
        let source = Source::parse(&text).map_err(|e| format!("{path}: {e}"))?;
        self.files.push(File { path: path.into(), lines: text.lines().count(), marks: Marks::default() });
        self.module(self.files.len() - 1, parent, source, read)
    }

    fn module(
        &mut self,
        file: usize,
        parent: Option<usize>,
        mut source: Source,
        read: Read,
    ) -> Result<usize, String> {
        let (names, inline) = (source.files.clone(), std::mem::take(&mut source.inline));
        for name in &source.test_files {
            self.test_files.push(find(&self.files[file].path, name, read)?);
        }
        let marks = &mut self.files[file].marks;
        marks.unsafe_code.extend(&source.marks.unsafe_code);
        marks.paths.extend(&source.marks.paths);
        marks.features.extend(&source.marks.features);
        let id = self.modules.len();
        self.modules.push(Module { file, parent, children: BTreeMap::new(), source });
        for name in names {
            let found = find(&self.files[file].path, &name, read)?;
            let child = self.file(&found, Some(id), read)?;
            self.modules[id].children.insert(name, child);
        }
        for (name, source) in inline {
            let child = self.module(file, Some(id), source, read)?;
            self.modules[id].children.insert(name, child);
        }
        Ok(id)
    }

    /// Which file imports which, once for each pair.
    pub fn edges(&self) -> Vec<Edge> {
        let mut edges = BTreeMap::new();
        for (id, module) in self.modules.iter().enumerate() {
            let imports = module.source.imports.iter().map(|import| (&import.path, import.line));
            let mentions = module.source.mentions.iter().map(|(path, line)| (path, *line));
            for (path, line) in imports.chain(mentions) {
                let to = match self.resolve(id, path, 0) {
                    Some(Target::Item(file)) => file,
                    // A folder's name alone is no import: what is used of it has a longer path.
                    Some(Target::Module(to)) if self.modules[to].children.is_empty() => self.modules[to].file,
                    _ => continue,
                };
                let edge = Edge { from: module.file, to, line, path: path.join("::") };
                if edge.from != edge.to {
                    edges.entry((edge.from, edge.to)).or_insert(edge);
                }
            }
        }
        edges.into_values().collect()
    }

    /// The first words of all paths in a crate.
    pub fn first_words(&self, name: &str) -> Vec<&str> {
        let root = self.crates.get(name).copied();
        let modules = self.modules.iter().enumerate().filter(|(id, _)| Some(self.root_of(*id)) == root);
        let sources = modules.map(|(_, module)| &module.source);
        let paths = sources.flat_map(|source| {
            source
                .imports
                .iter()
                .map(|import| &import.path)
                .chain(source.mentions.iter().map(|(path, _)| path))
        });
        paths.filter_map(|path| path.first()).map(String::as_str).collect()
    }

    /// Follows a path from a module, through what others re-export, to the file where it ends.
    fn resolve(&self, from: usize, path: &[String], depth: usize) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        // `use log;` leads to itself.
        if depth > 16 {
            return None;
        }
        let start = match first.as_str() {
            "crate" => self.root_of(from),
            "self" => from,
            "super" => self.modules[from].parent?,
            name => match self.modules[from].children.get(name).or_else(|| self.crates.get(name)) {
                Some(module) => *module,
                None => return self.through_import(from, name, rest, depth),
            },
        };
        self.descend(start, rest, depth)
    }

    fn descend(&self, module: usize, path: &[String], depth: usize) -> Option<Target> {
        let Some((first, rest)) = path.split_first() else { return Some(Target::Module(module)) };
        if first == "super" {
            return self.descend(self.modules[module].parent?, rest, depth);
        }
        if let Some(child) = self.modules[module].children.get(first) {
            return self.descend(*child, rest, depth);
        }
        let imported = self.through_import(module, first, rest, depth);
        Some(imported.unwrap_or(Target::Item(self.modules[module].file)))
    }

    /// What a name leads to that the module imports.
    fn through_import(&self, module: usize, name: &str, rest: &[String], depth: usize) -> Option<Target> {
        let import = self.modules[module].source.imports.iter().find(|import| import.name == name)?;
        match self.resolve(module, &import.path, depth + 1)? {
            Target::Module(module) => self.descend(module, rest, depth + 1),
            item => Some(item),
        }
    }

    fn root_of(&self, module: usize) -> usize {
        self.modules[module].parent.map_or(module, |parent| self.root_of(parent))
    }
}

/// The file of a module that `path` names.
fn find(path: &str, module: &str, read: Read) -> Result<String, String> {
    let folder = folder(path);
    let places = [folder.join(format!("{module}.rs")), folder.join(module).join("mod.rs")];
    let found = places.iter().filter_map(|place| place.to_str()).find(|place| read(place).is_some());
    found.map(Into::into).ok_or_else(|| format!("{path}: no file for `mod {module}`"))
}

/// Where the files of a file's modules are.
fn folder(path: &str) -> PathBuf {
    let path = Path::new(path);
    let above = path.parent().map(Path::to_path_buf).unwrap_or_default();
    match path.file_stem().and_then(|stem| stem.to_str()) {
        Some("lib" | "main" | "mod") | None => above,
        Some(stem) => above.join(stem),
    }
}
