//! Files that import each other, directly or through others.

use std::collections::BTreeSet;

use crate::tree::{Edge, Tree};

/// The files from which a way leads back to themselves.
pub fn files(tree: &Tree) -> Vec<&str> {
    let edges = tree.edges();
    let all = 0..tree.files.len();
    all.filter(|file| way_back(*file, &edges).is_some()).map(|file| tree.files[file].path.as_str()).collect()
}

/// The shortest way from a file back to itself, import by import.
pub fn story(tree: &Tree, file: &str) -> String {
    let edges = tree.edges();
    let index = tree.files.iter().position(|each| each.path == file);
    let way = index.and_then(|index| way_back(index, &edges)).unwrap_or_default();
    let step = |edge: &&Edge| {
        let (from, to) = (&tree.files[edge.from].path, &tree.files[edge.to].path);
        format!("  {from}:{} imports {} of {to}", edge.line, edge.path)
    };
    let steps: Vec<String> = way.iter().map(step).collect();
    format!("{file} is in a circle:\n{}", steps.join("\n"))
}

fn way_back(file: usize, edges: &[Edge]) -> Option<Vec<&Edge>> {
    let mut seen = BTreeSet::new();
    let mut ways: Vec<Vec<&Edge>> = vec![vec![]];
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let at = way.last().map_or(file, |edge| edge.to);
            for edge in edges.iter().filter(|edge| edge.from == at) {
                let next = way.iter().copied().chain([edge]).collect();
                if edge.to == file {
                    return Some(next);
                }
                if seen.insert(edge.to) {
                    longer.push(next);
                }
            }
        }
        ways = longer;
    }
    None
}
